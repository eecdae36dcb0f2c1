"""The physical lines of a CSV file: some handed out already split, those of a broken record handed out twice."""

import csv
from collections import deque
from gzip import GzipFile
from io import BufferedReader

RECORD_BYTES = 1 << 20
"""A record longer than this, and so any field, is bad."""
_BLOCK_BYTES = 1 << 16
_EMPTY = (b"\n", b"\r\n")
_BOM = b"\xef\xbb\xbf"


class RecordTooLongError(csv.Error):
    """Raised from within the reader's own call for a line, so that it ends the record."""


class CsvLines:
    """Physical lines of a file as text, those of a broken record a second time."""

    def __init__(self, stream: BufferedReader | GzipFile, record_lines: int) -> None:
        self._stream = stream
        self._record_lines = record_lines
        self._queue: deque[bytes] = deque()
        self._tail = b""
        self._at_start = True
        self._number = 0
        self._record_bytes = 0
        self.taken: list[bytes] = []
        self.flaw = ""

    def plain_block(self, width: int) -> tuple[int, list[bytes], list[str]] | None:
        """Return the first line's number, the lines and all fields of the next block, if it can simply be split.

        That is several times as quick as csv.reader. A block with a quote, a flaw or a row of another width is
        queued, to be read line by line. Empty lines where a record may begin are passed over: a file can hold millions.
        """
        self.begin_record()
        while self._queue and self._queue[0] in _EMPTY:
            self._queue.popleft()
            self._number += 1
        if self._queue:
            return None
        block = self._read_block()
        while block and not block.replace(b"\r\n", b"\n").strip(b"\n"):
            self._number += block.count(b"\n")
            block = self._read_block()
        lines = block.removesuffix(b"\n").split(b"\n")
        fields = _split_plainly(block, len(lines), width)
        if fields is None:
            self._queue_lines(block)
            return None
        first = self.begin_record()
        self._number += len(lines)
        return first, lines, fields

    def begin_record(self) -> int:
        """Forget the last record; return the number of the line that comes next."""
        self._number += len(self.taken)
        self.taken = []
        self._record_bytes = 0
        self.flaw = ""
        return self._number + 1

    def keep_first(self) -> bytes:
        """Return the record's first line, and put its others back to be read again."""
        self._queue.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
        return self.taken[0]

    def __iter__(self) -> "CsvLines":
        """Return itself: csv.reader wants an iterator."""
        return self

    def __next__(self) -> str:
        """Return the next line of the record; raise RecordTooLongError when it should have ended before."""
        if len(self.taken) == self._record_lines:
            raise RecordTooLongError("a quote that is not closed")
        if not self._queue:
            self._queue_lines(self._read_block())
        if not self._queue:
            raise StopIteration
        line = self._queue.popleft()
        self.taken.append(line)
        self._record_bytes += len(line)
        if self._record_bytes > RECORD_BYTES:
            raise RecordTooLongError("longer than 1 MiB")
        if b"\0" in line:
            self.flaw = "a NUL character"
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.flaw = "bytes that are not UTF-8"
            return line.decode(errors="surrogateescape")

    def _queue_lines(self, block: bytes) -> None:
        *whole, last = block.split(b"\n")
        self._queue.extend(line + b"\n" for line in whole)
        if last:
            self._queue.append(last)

    def _read_block(self) -> bytes:
        """Return some whole lines, nothing at the end. Of a line that is too long only as much as shows it."""
        while data := self._stream.read1(_BLOCK_BYTES):  # read1: a damaged gzip gives what precedes the damage
            head, line_end, rest = data.rpartition(b"\n")
            if line_end:
                block, self._tail = self._tail + head + line_end, rest
                return self._without_bom(block)
            if len(self._tail) <= RECORD_BYTES:
                self._tail += data
        block, self._tail = self._tail, b""
        return self._without_bom(block)

    def _without_bom(self, block: bytes) -> bytes:
        if self._at_start:
            self._at_start = False
            return block.removeprefix(_BOM)
        return block


def _split_plainly(block: bytes, lines: int, width: int) -> list[str] | None:
    """Return the fields of a block's lines, one after the other; None when that needs a closer look."""
    if not block or len(block) > RECORD_BYTES or b'"' in block or b"\0" in block:
        return None
    try:
        text = block.decode().replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError:
        return None
    if "\r" in text or {line.count(",") for line in text.split("\n")} != {width - 1} or width == 1:
        return None
    fields = text.replace("\n", ",").split(",")
    return fields if len(fields) == lines * width else None
