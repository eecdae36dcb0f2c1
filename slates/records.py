"""Records of an archive: arrays of byte strings, written as Redis writes them (RESP), in gzip.

The first record names the format and its version, the last one is SHA-256 over all the bytes before it. The same
records always make the same bytes. A reader trusts no length: memory is bounded whatever the file says.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from typing import IO

from slates.errors import ArchiveError
from slates.resp import command

MAGIC, VERSION = b"hourfeed-archive", b"1"
MOST_BYTES = 32_000_000_000
"""What a file may hold, unpacked, unless its reader allows more."""
_END = b"end"
_LEVEL = 3  # of gzip: beyond it the time doubles for a few per cent
_CHUNK = 1 << 20
_MOST_PART, _MOST_PARTS = 1 << 26, 1 << 15
_MOST_RECORD = 1 << 27
_LONGEST_LINE = 14
_FOREIGN = "this is no file that `hourfeed export` wrote"

Record = list[bytes]


class RecordWriter:
    """Writes records to a file that is open for it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0)
        self._digest = hashlib.sha256()
        self.write([MAGIC, VERSION])

    def write(self, record: Record) -> None:
        """Write a record."""
        written = command(*record)
        self._digest.update(written)
        self._packed.write(written)

    def close(self) -> str:
        """Write the digest, and return it; the file itself stays open."""
        digest = self._digest.hexdigest()
        self._packed.write(command(_END, digest.encode()))
        self._packed.close()
        return digest


class _CutOffError(Exception):
    """What is in memory ends within a record."""


class RecordReader:
    """Reads the records between the first and the last, once; `digest` is known when all are read.

    Everything that is wrong with the file is an ArchiveError. most_bytes : of the unpacked file.
    """

    def __init__(self, file: IO[bytes], most_bytes: int = MOST_BYTES) -> None:
        self._unpacked = gzip.GzipFile(fileobj=file, mode="rb")
        self._most_bytes = most_bytes
        self._read_bytes = 0
        self.digest = ""

    def __iter__(self) -> Iterator[Record]:
        """Yield the records; raise ArchiveError after the last one where the digest is not theirs."""
        records, hashed = self._all(), hashlib.sha256()
        first, written = next(records, ([], b""))
        if len(first) != 2 or first[0] != MAGIC:
            raise ArchiveError(_FOREIGN)
        if first[1] != VERSION:
            msg = (
                f"the file is of version {first[1][:20]!r} of the format, and this hourfeed reads {VERSION!r}; "
                "import it with a hourfeed of the version that wrote it"
            )
            raise ArchiveError(msg)
        hashed.update(written)
        for record, written in records:
            if record[0] == _END:
                break
            yield record
            hashed.update(written)
        else:
            raise ArchiveError("the file is cut short: its last record is missing")
        if record != [_END, hashed.hexdigest().encode()]:
            raise ArchiveError("the file is damaged: its content is not that of its digest")
        if next(records, None) is not None:
            raise ArchiveError("the file goes on after its last record")
        self.digest = hashed.hexdigest()

    def _all(self) -> Iterator[tuple[Record, memoryview]]:
        """Yield every record, and the bytes that it was read from."""
        buffer, at = b"", 0
        while True:
            try:
                record, end = _parse(buffer, at)
            except _CutOffError:
                if len(buffer) - at > _MOST_RECORD:
                    msg = f"the file is damaged: a record goes on for more than {_MOST_RECORD >> 20} MiB"
                    raise ArchiveError(msg) from None
                more = self._more(max(_CHUNK, len(buffer) - at))  # doubled each time, or long records take for ever
                if not more:
                    if at < len(buffer):
                        raise ArchiveError("the file is cut short, within a record") from None
                    return
                buffer, at = buffer[at:] + more, 0
            else:
                yield record, memoryview(buffer)[at:end]
                at = end

    def _more(self, size: int) -> bytes:
        try:
            more = self._unpacked.read(size)
        except EOFError:
            raise ArchiveError("the file is cut short") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ArchiveError(f"the file is damaged ({error})" if self._read_bytes else _FOREIGN) from None
        self._read_bytes += len(more)
        if self._read_bytes > self._most_bytes:
            msg = f"the file unpacks to more than {self._most_bytes / 1e9:g} GB; if that is right, raise --max-gb"
            raise ArchiveError(msg)
        return more


def _parse(buffer: bytes, at: int) -> tuple[Record, int]:
    """Return the record that begins at a place, and where it ends."""
    n_parts, at = _number(buffer, at, b"*", _MOST_PARTS)
    if not n_parts:
        raise ArchiveError("the file is damaged: it holds an empty record")
    parts = []
    for _ in range(n_parts):
        length, begin = _number(buffer, at, b"$", _MOST_PART)
        end = begin + length
        at = end + 2
        if at > len(buffer):
            raise _CutOffError
        if buffer[end:at] != b"\r\n":
            raise ArchiveError("the file is damaged: a part is longer than it says")
        parts.append(buffer[begin:end])
    return parts, at


def _number(buffer: bytes, at: int, sign: bytes, most: int) -> tuple[int, int]:
    """Return a number that follows its sign, and where its line ends."""
    end = buffer.find(b"\r\n", at, at + _LONGEST_LINE)
    if end < 0:
        if at + _LONGEST_LINE > len(buffer) and buffer[at : at + 1] in (b"", sign):
            raise _CutOffError
        raise ArchiveError(_FOREIGN if not at else "the file is damaged: a record does not begin as it should")
    digits = buffer[at + 1 : end]
    if buffer[at : at + 1] != sign or not digits.isdigit():
        raise ArchiveError(_FOREIGN if not at else "the file is damaged: a record does not begin as it should")
    number = int(digits)
    if number > most:
        msg = f"the file is damaged: it says {number:,} where at most {most:,} can be"
        raise ArchiveError(msg)
    return number, end + 2
