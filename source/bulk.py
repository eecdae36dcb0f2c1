"""Writes many events: into a new table of Postgres by bare COPY with the indexes made at the end, else frame by frame.

To keep two indexes up to date over tens of millions of rows takes several times as long as to make them at the end, and
so does the temporary table through which rows must go that may be there already.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, func, literal_column, select, text

from source.engine import database_errors
from source.errors import SourceError
from source.schema import SourceSchema
from source.tables import KEYS, columns_there, create_indexes, create_table, existing_forms
from source.write import check_columns, copy_rows, fitting, form_of, write_rows

_SORT_MEMORY = "512MB"
"""For the sorts of the indexes, which at Postgres's own 64 MB go over a large table several times."""


class EventWriter(Protocol):
    """Takes frames of events as `write_rows` does, all with the same columns."""

    def add(self, frame: pd.DataFrame) -> int:
        """Write events, and return how many are new; those of a new table count as such until `finish`."""

    def finish(self) -> int:
        """Complete the table, and return how many that counted as new were the same by their key as others."""


@contextmanager
def event_writer(engine: Engine, schema: SourceSchema) -> Iterator[EventWriter]:
    """Yield the quickest writer for the table of events; call its `finish` when all is added.

    All that goes into a new table of Postgres goes there in one transaction, which an error in the block rolls back.
    """
    if engine.dialect.name != "postgresql" or _is_there(engine, schema):
        yield _FrameWriter(engine, schema)
        return
    with (
        database_errors(engine, "writing events"),
        engine.begin() as connection,
        ThreadPoolExecutor(1, "copy") as thread,
    ):
        connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))  # as in write_rows
        yield _NewTableWriter(connection, schema, thread)


def _is_there(engine: Engine, schema: SourceSchema) -> bool:
    with database_errors(engine, "looking at the tables"), engine.connect() as connection:
        return columns_there(connection, schema.events.table) is not None


class _FrameWriter:
    """Commits each frame; an event that is there is left."""

    def __init__(self, engine: Engine, schema: SourceSchema) -> None:
        self._engine, self._schema = engine, schema

    def add(self, frame: pd.DataFrame) -> int:
        return write_rows(self._engine, self._schema, "events", frame)

    def finish(self) -> int:
        return 0


class _NewTableWriter:
    """Copies one frame in a thread while the caller makes the next one."""

    def __init__(self, connection: Connection, schema: SourceSchema, thread: ThreadPoolExecutor) -> None:
        self._connection, self._schema, self._thread = connection, schema, thread
        self._table: Table | None = None
        self._copying: Future[None] | None = None

    def add(self, frame: pd.DataFrame) -> int:
        check_columns(self._schema, "events", frame)
        if frame.empty:
            return 0
        self._wait()
        if self._table is None:
            wanted = {str(name): form_of("events", frame[name]) for name in frame}
            self._table = create_table(self._connection, self._schema, "events", wanted)
            self._forms = existing_forms(self._connection, self._schema, "events") or {}
        rows = pa.table({str(name): fitting(frame[name], self._forms[str(name)], self._table) for name in frame})
        # FREEZE: who reads the table first need not write it once more, to note that its rows are committed.
        self._copying = self._thread.submit(copy_rows, self._connection, self._table, rows, "FREEZE")
        return len(frame)

    def finish(self) -> int:
        self._wait()
        if self._table is None:
            return 0
        for memory in ("maintenance_work_mem", "work_mem"):
            self._connection.execute(text(f"SET LOCAL {memory} = '{_SORT_MEMORY}'"))
        before = self._connection.begin_nested()
        try:
            create_indexes(self._connection, self._table)
        except SourceError:  # some rows are the same
            before.rollback()
            removed = self._remove_doubles(self._table)
            create_indexes(self._connection, self._table)
            return removed
        before.commit()
        return 0

    def _wait(self) -> None:
        if self._copying is not None:
            self._copying.result()
            self._copying = None

    def _remove_doubles(self, table: Table) -> int:
        """Keep the first of the rows that are the same: COPY has put them down in the order in which they came."""
        place: ColumnElement[Any] = literal_column("ctid")
        keys = [table.c[name] for name in KEYS["events"]]
        nth = func.row_number().over(partition_by=keys, order_by=place)
        ranked = select(place.label("place"), nth.label("nth")).select_from(table).subquery()
        surplus = select(ranked.c.place).where(ranked.c.nth > 1)
        return self._connection.execute(delete(table).where(place.in_(surplus))).rowcount
