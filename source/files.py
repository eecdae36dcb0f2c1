"""Finds the files of users, posts and events in a folder, and reads each in chunks of rows."""

import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from source.chunk import Chunk
from source.csv_rows import CsvRows
from source.errors import SourceError
from source.gunzip import Gunzip
from source.parquet_rows import ParquetRows
from source.tables import Kind

if TYPE_CHECKING:
    from io import BufferedReader

CHUNK_ROWS = 50_000
MOST_COLUMNS = 1_600
STEMS: dict[Kind, tuple[str, ...]] = {
    "users": ("users", "user_data"),
    "posts": ("posts", "post_text_df", "post_data", "post_topics"),
    "events": ("events", "feed_data"),
}
DAMAGE = (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeDecodeError, MemoryError)
"""What readers raise at a file that is none, or asks for more memory than there is."""
ENDINGS = (".csv", ".csv.gz", ".parquet")
_RECORD_LINES: dict[Kind, int] = {"users": 2_000, "posts": 2_000, "events": 1}
"""An event has no field in which a line could end; texts of posts have."""


def find_files(folder: Path) -> tuple[dict[Kind, Path], list[str]]:
    """Return the file of each kind that is there, or the folder of its Parquet files, and the names that are none.

    Raises SourceError when nothing is found, and when two files are of one kind.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder; give the folder with the files of users, posts and events")
    kinds: dict[str, Kind] = {f"{stem}{end}": kind for kind in STEMS for stem in STEMS[kind] for end in ("", *ENDINGS)}
    found: dict[Kind, Path] = {}
    ignored = []
    for path in sorted(folder.iterdir()):
        kind = kinds.get(path.name.lower())
        if kind is None or not (parquet_files(path) if path.is_dir() else path.suffix):
            ignored += [] if path.name.startswith(".") else [path.name]
        elif kind in found:
            raise SourceError(
                f"{found[kind].name} and {path.name} in {folder} both hold {kind}; leave one of them there"
            )
        else:
            found[kind] = path
    if not found:
        names = "; ".join(f"{kind}: {' or '.join(stems)}" for kind, stems in STEMS.items())
        raise SourceError(
            f"{folder} holds none of the files that are looked for ({names}), "
            f"each a folder of .parquet files or ending in {' or '.join(ENDINGS)}; "
            f"it holds {', '.join(ignored) or 'nothing'}"
        )
    return {kind: found[kind] for kind in STEMS if kind in found}, ignored


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(".parquet"))


def size_bytes(path: Path) -> int:
    """Return the size of a file, or of the Parquet files in a folder."""
    return sum(part.stat().st_size for part in (parquet_files(path) if path.is_dir() else [path]))


class RowFile:
    """A file, or a folder of Parquet files, while it is read: `header` names its columns."""

    def __init__(self, path: Path, rows: CsvRows | ParquetRows) -> None:
        self.path = path
        self.header = rows.header
        self._rows = rows

    def chunks(self, rows: int = CHUNK_ROWS) -> Generator[Chunk]:
        """Give the rows, up to so many at once.

        Raises SourceError where the file breaks off (a truncated gzip, say), after the rows before that point.
        """
        with _reading(self.path):
            yield from self._rows.chunks(rows)


@contextmanager
def open_rows(path: Path, kind: Kind) -> Iterator[RowFile]:
    """Open a file of rows; raise SourceError when it has no header or cannot be read at all."""
    with ExitStack() as stack:
        with _reading(path):
            name = path.name.lower()
            rows: CsvRows | ParquetRows
            if path.is_dir():
                rows = ParquetRows(parquet_files(path))
            elif name.endswith(".parquet"):
                rows = ParquetRows([path])
            else:
                raw = stack.enter_context(path.open("rb"))
                stream: BufferedReader | Gunzip = raw
                if name.endswith(".gz"):
                    stream = stack.enter_context(Gunzip(raw, path.name))
                rows = CsvRows(stream, path.name, _RECORD_LINES[kind], raw.tell)
        _check_header(path, rows.header)
        yield RowFile(path, rows)


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) > MOST_COLUMNS:
        raise SourceError(
            f"{path.name} has {len(header):,} columns, more than the {MOST_COLUMNS:,} of a database table"
        )
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise SourceError(
            f"the columns of {path.name} must have names of their own; twice there is {', '.join(twice)!r:.300}"
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        words = str(error).partition("\n")[0] or type(error).__name__
        raise SourceError(f"{path.name} is damaged or not what its ending says: {words:.300}") from error
