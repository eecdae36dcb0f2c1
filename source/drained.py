"""Puts posted events into the table of events, each once: the same transaction notes their ids beside them."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, DateTime, Engine, MetaData, Table, Text, delete, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, InternalError

from source.engine import database_errors
from source.errors import SourceError
from source.existing import ExistingTable, find_table
from source.exposures import ExposureRow, insert_exposures
from source.schema import SourceSchema
from source.tables import ColumnForm

TABLE = "hourfeed_drained"
REMEMBERED = timedelta(days=7)
"""How long the database knows an event's id."""
_REFUSED = (IntegrityError, DataError, InternalError)
"""What a database raises at a row: a foreign key, a check, a value out of range, a trigger of the owner's."""


class PostedEvent(NamedTuple):
    """An event that is to go into the table; `at` is aware."""

    event_id: str
    user_id: str
    post_id: str
    action: str
    at: datetime


class Refused(NamedTuple):
    """An event that the table cannot take, and why."""

    event: PostedEvent
    reason: str


class Taken(NamedTuple):
    """How many events were new by their id, and how many of these were refused."""

    new: int
    refused: int


class DrainTarget:
    """The table of events, whatever its names and types, and hourfeed_drained beside it, which is made where it lacks.

    Nothing is sent before the first events come.
    """

    def __init__(self, engine: Engine, schema: SourceSchema) -> None:
        self._engine = engine
        self._schema = schema
        self._events: ExistingTable | None = None
        self._drained = drained_table(schema)
        self._pruned_at: datetime | None = None

    def take_in(
        self, posted: Sequence[PostedEvent], now: datetime, set_aside: Callable[[Sequence[Refused]], None]
    ) -> Taken:
        """Insert the events that are new by their id, in one transaction; return when that is committed.

        `set_aside` gets what the table cannot take before the commit: twice, rather than never, where this is killed.
        Raises SourceError when the database is away or refuses all alike; then nothing has happened.
        """
        by_id = {event.event_id: event for event in posted}
        with database_errors(self._engine, "draining events"):
            events = self._prepared(now)
            with self._transaction() as connection:
                # In one order, so that two drains wait for each other and do not lock each other out.
                rows = [{"event_id": event_id, "drained_at": _naive(now)} for event_id in sorted(by_id)]
                insert = _insert_of(connection, self._drained).on_conflict_do_nothing()
                new = connection.execute(insert.returning(self._drained.c.event_id), rows).scalars().all()
                refused = _insert(connection, events, [by_id[event_id] for event_id in new])
                if refused:
                    set_aside(refused)
        return Taken(len(new), len(refused))

    def take_in_exposures(self, rows: Sequence[ExposureRow]) -> None:
        """Insert what users of an experiment were shown, each entry of the stream once."""
        insert_exposures(self._engine, self._schema, rows)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))  # for a timestamp with time zone
            yield connection

    def _prepared(self, now: datetime) -> ExistingTable:
        if self._events is None:
            with self._transaction() as connection:
                events = find_table(connection, self._schema, "events")
                if events is None:
                    raise SourceError(
                        f"there is no table {self._schema.events.table} to put events into; make it, load events with "
                        "`hourfeed load`, or name yours in hourfeed.toml"
                    )
                self._drained.create(connection, checkfirst=True)
            self._events = events
        if self._pruned_at is None or now - self._pruned_at > timedelta(hours=1):
            with self._transaction() as connection:
                connection.execute(delete(self._drained).where(self._drained.c.drained_at < _naive(now - REMEMBERED)))
            self._pruned_at = now
        return self._events


def drained_table(schema: SourceSchema) -> Table:
    """Return the table of ids, in the database schema of the events."""
    in_schema = schema.events.table.rpartition(".")[0] or None
    event_id = Column("event_id", Text, primary_key=True)
    return Table(
        TABLE, MetaData(), event_id, Column("drained_at", DateTime, nullable=False, index=True), schema=in_schema
    )


def _insert(connection: Connection, table: ExistingTable, events: Sequence[PostedEvent]) -> list[Refused]:
    """Insert events, and return those that cannot be; an event that is there already by a key of the table is left."""
    refused, rows, kept = [], [], []
    for event in events:
        try:
            rows.append(_row(table, event))
            kept.append(event)
        except ValueError as error:
            refused.append(Refused(event, str(error)))
    clause = table.columns["timestamp"].table
    columns = {name: table.columns[name].name for name in ("timestamp", "user_id", "post_id", "action")}
    named = [{columns[name]: value for name, value in row.items()} for row in rows]
    return refused + _insert_rows(connection, _insert_of(connection, clause).on_conflict_do_nothing(), named, kept)


def _insert_rows(
    connection: Connection, statement: Any, rows: Sequence[dict[str, Any]], events: Sequence[PostedEvent]
) -> list[Refused]:
    """Insert rows; where the database refuses some, find them by halves."""
    if not rows:
        return []
    savepoint = connection.begin_nested()
    try:
        connection.execute(statement, rows)
    except _REFUSED as error:
        savepoint.rollback()
        if error.connection_invalidated:
            raise
        if len(rows) == 1:
            return [Refused(events[0], str(error.orig).strip().partition("\n")[0])]
        half = len(rows) // 2
        return [
            *_insert_rows(connection, statement, rows[:half], events[:half]),
            *_insert_rows(connection, statement, rows[half:], events[half:]),
        ]
    savepoint.commit()
    return []


def _insert_of(connection: Connection, table: Any) -> Any:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table)


def _row(table: ExistingTable, event: PostedEvent) -> dict[str, Any]:
    at = _naive(event.at)
    return {
        "timestamp": at if table.dialect == "postgresql" else at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "user_id": _id("user_id", event.user_id, table.forms["user_id"]),
        "post_id": _id("post_id", event.post_id, table.forms["post_id"]),
        "action": event.action,
    }


def _id(name: str, value: str, form: ColumnForm) -> int | str:
    """Return an id as its column takes it; raise ValueError where it is none."""
    if form.form == "integer":
        try:
            number = int(value)
        except ValueError:
            number = 2**63
        if not -(2 ** (form.bits - 1)) <= number < 2 ** (form.bits - 1):
            msg = f"{name} is not a whole number of {form.bits} bits"
            raise ValueError(msg)
        return number
    if form.form == "uuid":
        try:
            return str(uuid.UUID(value))
        except ValueError:
            msg = f"{name} is not a UUID"
            raise ValueError(msg) from None
    if form.max_length is not None and len(value) > form.max_length:
        msg = f"{name} is longer than {form.max_length} characters"
        raise ValueError(msg)
    return value


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
