"""Reads CSV as it comes: a broken row is set aside by its line number, and the rows after it are read as usual."""

import csv
from collections.abc import Callable, Generator
from gzip import GzipFile
from io import BufferedReader
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from source.chunk import BadRow, Chunk
from source.csv_lines import RECORD_BYTES, CsvLines
from source.errors import SourceError

_CHUNK_BYTES = 32 << 20


class CsvRows:
    """The rows of one CSV file.

    `record_lines` is how many physical lines a record may take by line ends within quotes. A quote that was never
    meant to open a field is found after that many lines, and reading goes on at the second of them.
    """

    def __init__(
        self, stream: BufferedReader | GzipFile, name: str, record_lines: int, bytes_read: Callable[[], int]
    ) -> None:
        csv.field_size_limit(RECORD_BYTES)  # process-wide; Python's own limit is 128 KiB
        self._lines = CsvLines(stream, record_lines)
        self._reader = csv.reader(self._lines, strict=True)
        self._bytes_read = bytes_read
        self.header = self._read_header(name)

    def chunks(self, rows: int) -> Generator[Chunk]:
        """Give the rows, up to so many at once. What the stream raises comes after the rows read before it."""
        ended = False
        while not ended:
            part = _Part(len(self.header))
            failure: Exception | None = None
            try:
                ended = self._fill(part, rows)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised after these rows
                failure = error
            if part.lines or part.bad:
                yield part.chunk(self.header, self._bytes_read())
            if failure:
                raise failure

    def _fill(self, part: "_Part", rows: int) -> bool:
        """Read up to so many rows into `part`; return whether the file has ended."""
        lines, reader, width = self._lines, self._reader, len(self.header)
        while len(part.lines) + len(part.bad) < rows and part.bytes < _CHUNK_BYTES:
            plain = lines.plain_block(width)
            if plain:
                part.extend(*plain)
                continue
            number = lines.begin_record()
            try:
                fields = next(reader)
            except StopIteration:
                return True
            except csv.Error as error:
                part.set_aside(number, _in_words(error), lines.keep_first())
                continue
            if not fields:  # an empty line
                continue
            if len(fields) != width:
                part.set_aside(number, f"not {width} fields", lines.keep_first())
            elif lines.flaw:
                part.set_aside(number, lines.flaw, b"".join(lines.taken))
            else:
                part.extend(number, [b"".join(lines.taken)], fields)
        return False

    def _read_header(self, name: str) -> list[str]:
        self._lines.begin_record()
        try:
            header = [field.strip() for field in next(self._reader)]
        except StopIteration:
            raise SourceError(f"{name} is empty: its first line should name the columns") from None
        except csv.Error as error:
            raise SourceError(f"the first line of {name} should name the columns: {_in_words(error)}") from error
        if self._lines.flaw:
            raise SourceError(f"the first line of {name} should name the columns: {self._lines.flaw}")
        return header


class _Part:
    """The rows of a chunk while it grows."""

    def __init__(self, width: int) -> None:
        self.lines: list[int] = []
        self.bad: list[BadRow] = []
        self.bytes = 0
        self._columns: list[list[str]] = [[] for _ in range(width)]
        self._raw: list[bytes] = []

    def extend(self, first: int, raw: list[bytes], fields: list[str]) -> None:
        """Add rows that begin at consecutive lines; `fields` holds those of all, one after the other."""
        self.lines.extend(range(first, first + len(raw)))
        self._raw.extend(raw)
        width = len(self._columns)
        for at, column in enumerate(self._columns):
            column.extend(fields[at::width])
        self.bytes += sum(map(len, raw))

    def set_aside(self, line: int, reason: str, raw: bytes) -> None:
        self.bad.append(BadRow(line, reason, _as_text(raw)))
        self.bytes += len(raw)

    def chunk(self, header: list[str], bytes_read: int) -> Chunk:
        arrays = [_nulls_for_empty(pa.array(column, pa.string())) for column in self._columns]
        columns = dict(zip(header, arrays, strict=True))
        raw = self._raw
        return Chunk(self.lines, columns, lambda position: _as_text(raw[position]), self.bad, bytes_read)


def _nulls_for_empty(values: Any) -> Any:
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _in_words(error: csv.Error) -> str:
    known = {
        "unexpected end of data": "a quote that is not closed",
        "new-line character seen": "a carriage return within the line",
        "expected after": "text after a closing quote",
        "field larger than": "longer than 1 MiB",
    }
    return next((words for begin, words in known.items() if begin in str(error)), str(error))


def _as_text(raw: bytes) -> str:
    return raw.rstrip(b"\r\n").decode(errors="backslashreplace").replace("\0", "\\x00")
