"""The rows that cannot be used: how many there were at any moment, and the first so many of a read to look at."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batch.event_log.errors import CorruptLogError
from batch.event_log.queries import Span
from source.chunk import BadRow

LISTED = 100_000
"""Rows that are kept as text; beyond, they are only counted."""
_UNDATED = -(1 << 63)
_SCHEMA = pa.schema([("at_s", pa.int64()), ("reason", pa.string()), ("row", pa.string())])


class BadRows:
    """Unusable rows by time, those of no time first. reason, row : None for rows that are only counted."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self._at_s = table["at_s"].to_numpy()

    def outside(self, spans: Sequence[Span]) -> "BadRows":
        """Return the rows that belong to none of the spans."""
        kept = np.ones(len(self._at_s), dtype=bool)
        for span in spans:
            begin_s = _UNDATED + 1 if span.begin_s is None else span.begin_s
            within = self._at_s >= begin_s
            kept &= ~(within | (self._at_s == _UNDATED) if span.end_s is None else within & (self._at_s < span.end_s))
        return BadRows(self.table.filter(pa.array(kept)))

    def count(self, span: Span) -> int:
        """Count the rows of a span that has an end."""
        return self.before(span.end_s or 0) - self.before(_UNDATED + 1 if span.begin_s is None else span.begin_s)

    def before(self, moment_s: int) -> int:
        """Count the rows before a moment, and those of no time."""
        return int(np.searchsorted(self._at_s, moment_s))

    def listed(self, before_s: int) -> list[BadRow]:
        """Return the rows before a moment and those of no time, as far as they are kept as text."""
        found = self.table.slice(0, self.before(before_s)).to_pylist()
        listed = [entry for entry in found if entry["row"] is not None]
        return [BadRow(place, entry["reason"], entry["row"]) for place, entry in enumerate(listed, start=1)]

    def to_bytes(self) -> bytes:
        """Return the content of the log's file of them."""
        out = io.BytesIO()
        pq.write_table(self.table, out, compression="zstd")
        return out.getvalue()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._at_s)


def no_bad_rows() -> BadRows:
    """Return none."""
    return BadRows(_SCHEMA.empty_table())


def bad_rows_from_bytes(data: bytes) -> BadRows:
    """Return what `to_bytes` gave."""
    try:
        return BadRows(pq.read_table(io.BytesIO(data)))
    except pa.ArrowException as error:
        raise CorruptLogError("the unusable rows cannot be read") from error


def with_new(old: BadRows, rows: Iterable[tuple[int | None, dict[str, str | None]]], actions: Sequence[str]) -> BadRows:
    """Add rows as the database gives them: the second, and the columns as text."""
    at, reasons, texts = [], [], []
    for place, (at_s, values) in enumerate(rows):
        at.append(_UNDATED if at_s is None else at_s)
        listed = place + len(old) < LISTED
        reasons.append(_reason(values, actions) if listed else None)
        texts.append(",".join(value or "" for value in values.values()) if listed else None)
    new = pa.table({"at_s": at, "reason": reasons, "row": texts}, schema=_SCHEMA)
    both = pa.concat_tables([old.table, new]).sort_by("at_s")
    return BadRows(both)


def _reason(values: Mapping[str, str | None], actions: Sequence[str]) -> str:
    missing = [name for name, value in values.items() if value is None]
    if missing:
        return f"{missing[0]} is null"
    empty = [name for name in ("user_id", "post_id") if not values[name]]
    if empty:
        return f"{empty[0]} is empty"
    if values["action"] not in actions:
        return f"unknown action; known are {', '.join(actions)}"
    return "broken time, or an id of the wrong type"
