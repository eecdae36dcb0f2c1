"""Keeps the rows that could not be used, each with its line number and the reason, in a file for each file."""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from source.chunk import BadRow
from source.errors import SourceError

ROW_CHARACTERS = 100_000
"""A longer row is cut there, so that any CSV reader can read the quarantine file."""
_COLUMNS = ("file", "line", "reason", "row")


class Quarantine:
    """The folder of quarantine files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, file_name: str) -> "QuarantineFile":
        """Begin the quarantine of one file; what an earlier load of that file left is removed."""
        return QuarantineFile(self._folder / f"{file_name}.csv", file_name)


class QuarantineFile:
    """`<file name>.csv` with the columns file, line, reason, row; it exists only when there is a bad row."""

    def __init__(self, path: Path, file_name: str) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._file_name = file_name
        self._stream: TextIO | None = None
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SourceError(f"the quarantine file {path} cannot be replaced: {error.strerror}") from error

    def add(self, rows: Iterable[BadRow]) -> None:
        """Write rows to the file and count them by reason."""
        with self._write_errors():
            for line, reason, row in rows:
                self.counts[reason] += 1
                self._writer().writerow((self._file_name, line, reason, _cut(row)))

    def _writer(self) -> Any:
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("w", encoding="utf-8", newline="")
            self._csv = _csv_writer(self._stream)
            self._csv.writerow(_COLUMNS)
        return self._csv

    def __enter__(self) -> "QuarantineFile":
        """Close the file at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._stream is not None:
            with self._write_errors():
                self._stream.close()

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # a full disk shows in whatever write comes next
            raise SourceError(f"the quarantine file {self.path} cannot be written: {error.strerror}") from error


def append_rows(folder: Path, file_name: str, rows: Sequence[BadRow]) -> None:
    """Add rows to the quarantine file of something that goes on, not of one load."""
    if not rows:
        return
    path = folder / f"{file_name}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as stream:
            out = _csv_writer(stream)
            if not stream.tell():
                out.writerow(_COLUMNS)
            out.writerows((file_name, line, reason, _cut(row)) for line, reason, row in rows)
    except OSError as error:
        raise SourceError(f"the quarantine file {path} cannot be written: {error.strerror}") from error


def erase_rows(folder: Path, words: Collection[str]) -> int:
    """Remove rows that hold one of the words, between commas, from all quarantine files; return how many went."""
    removed = 0
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else ():
        with path.open(encoding="utf-8", newline="") as stream:
            csv.field_size_limit(2 * ROW_CHARACTERS)  # process-wide; Python's own limit is 128 KiB
            head, *rows = csv.reader(stream)
        kept = [[name, int(line), *rest] for name, line, *rest in rows if set(rest[-1].split(",")).isdisjoint(words)]
        if len(kept) < len(rows):
            new = path.with_name(path.name + ".new")
            with new.open("w", encoding="utf-8", newline="") as stream:
                _csv_writer(stream).writerows([head, *kept])
            new.replace(path)
            removed += len(rows) - len(kept)
    return removed


def _csv_writer(stream: TextIO) -> Any:
    return csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def _cut(row: str) -> str:
    return row if len(row) <= ROW_CHARACTERS else f"{row[:ROW_CHARACTERS]}…"
