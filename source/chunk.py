"""What the readers of files hand on: some thousand rows as text, and the rows that could not be split into fields."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class BadRow(NamedTuple):
    """A row that cannot be used: its line in the file, why, and itself as text."""

    line: int
    reason: str
    row: str


@dataclass(frozen=True)
class Chunk:
    """Rows of a file, column by column.

    `columns` holds Arrow arrays, all of one length, by the header's names: strings, in which an empty field is a null,
    or, where the file has types, signed integers and timestamps without a zone (in UTC).
    `lines` is the number in the file of each row: its first physical line in CSV, its place from 1 on in Parquet.
    `raw` gives the row at a position as text. `bad` are the rows that are not in the columns. `bytes_read` counts
    from the file's beginning, and `rows_read` the rows of this chunk, bad ones included.
    """

    lines: list[int]
    columns: dict[str, Any]
    raw: Callable[[int], str]
    bad: list[BadRow]
    bytes_read: int

    @property
    def rows_read(self) -> int:
        """Count the rows, bad ones included."""
        return len(self.lines) + len(self.bad)
