"""What the log asks the database: the rows of a span of time, their number, and those that cannot be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    and_,
    cast,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
)
from sqlalchemy import Text as SqlText

from source.existing import ExistingTable, whole_seconds

_FLAGS = {"integer", "boolean"}
_BEFORE_ALL: ColumnElement[Any] = literal_column("timestamp '-infinity'")
_BAD_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Span:
    """Seconds from `begin_s` (None: from the beginning) up to and without `end_s` (None: without an end).

    A span without an end also holds the rows of which nobody can say when they were.
    """

    begin_s: int | None = None
    end_s: int | None = None


class EventSource:
    """The event table, seen from the log."""

    def __init__(self, connection: Connection, events: ExistingTable, actions: Mapping[str, int]) -> None:
        self.connection = connection
        self.events = events
        self.actions = list(actions)
        self.kinds = (events.id_type("user_id"), events.id_type("post_id"))
        self.is_postgres = connection.dialect.name == "postgresql"
        self.has_target = "target" in events.columns and events.forms["target"].form in _FLAGS
        self._at_s = whole_seconds(connection, events.columns["timestamp"])
        if self.is_postgres:  # so that times with and without a zone compare alike
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))

    def identity(self) -> dict[str, Any]:
        """Return what the log depends on; it is another after the table was truncated or made anew."""
        url, events = self.connection.engine.url, self.events
        own_names = {name: column.name for name, column in events.columns.items()}
        return {
            "database": [url.get_backend_name(), url.host, url.port, url.database],
            "table": [events.name, {name: own_names[name] for name in sorted(own_names)}],
            "relation": self._relation(),
            "ids": [kind.__name__ for kind in self.kinds],
            "actions": self.actions,
            "target": self.has_target,
        }

    def rows(self, span: Span) -> Any:
        """Return the query for the rows of a span: time, ids, action, target, and out of SQLite whether usable.

        Out of Postgres the decoder tells usable rows; there the time is the column's own, else seconds.
        """
        columns = self.events.columns
        target: ColumnElement[Any] = cast(columns["target"], Integer) if self.has_target else cast(None, Integer)
        if not self.is_postgres:
            ids = [self.events.id_column(name) for name in ("user_id", "post_id")]
            usable = func.coalesce(self._usable(), false())
            return select(self._at_s, *ids, cast(columns["action"], SqlText), target, usable).where(self._within(span))
        ids = [
            cast(columns[name], BigInteger) if kind is int else cast(columns[name], SqlText)
            for name, kind in zip(("user_id", "post_id"), self.kinds, strict=True)
        ]
        return select(columns["timestamp"], *ids, cast(columns["action"], SqlText), target).where(self._within(span))

    def count(self, span: Span) -> int:
        """Count the rows of a span that has an end, usable or not."""
        counted = select(func.count()).select_from(self._table()).where(self._within(span))
        return int(self.connection.scalar(counted) or 0)

    def bad_rows(self, span: Span) -> Iterator[tuple[int | None, dict[str, str | None]]]:
        """Give the unusable rows of a span: their second, if they have one, and their columns as text."""
        names = ("timestamp", "user_id", "post_id", "action")
        texts = [cast(self.events.columns[name], SqlText) for name in names]
        bad = and_(self._within(span), func.coalesce(not_(self._usable()), true()))  # usable may be NULL
        query = select(self._at_s, *texts).where(bad).execution_options(yield_per=_BAD_ROWS_AT_ONCE)
        for at_s, *row in self.connection.execute(query):
            yield at_s, dict(zip(names, row, strict=True))

    def _usable(self) -> ColumnElement[bool]:
        columns = self.events.columns
        return and_(
            self._at_s.is_not(None),
            columns["action"].is_not(None),
            cast(columns["action"], SqlText).in_(sorted(self.actions)),  # an enum refuses what is not among its values
            self.events.has_id("user_id"),
            self.events.has_id("post_id"),
        )

    def _within(self, span: Span) -> ColumnElement[bool]:
        """Return the condition of a span, so that an index on the time can be used."""
        if span == Span():
            return true()
        within = []
        if span.begin_s is not None:
            within.append(self._since(span.begin_s))
        if span.end_s is not None:
            within.append(not_(self._since(span.end_s)))
            if self.is_postgres:
                within.append(self.events.columns["timestamp"] > _BEFORE_ALL)
            return and_(*within)
        return or_(*within, self._undated())

    def _since(self, moment_s: int) -> ColumnElement[bool]:
        if self.is_postgres:
            return self.events.columns["timestamp"] >= func.to_timestamp(moment_s)
        return self._at_s >= moment_s

    def _undated(self) -> ColumnElement[bool]:
        moment = self.events.columns["timestamp"]
        if not self.is_postgres:
            return self._at_s.is_(None)
        return or_(moment.is_(None), moment == _BEFORE_ALL)  # infinity is later than any moment

    def _table(self) -> Any:
        return self.events.columns["timestamp"].table

    def _relation(self) -> list[Any]:
        name = self.connection.dialect.identifier_preparer.format_table(self._table())
        if self.is_postgres:
            query = (
                "SELECT oid::bigint, pg_relation_filenode(oid)::bigint,"
                " CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END"
                " FROM pg_class WHERE oid = to_regclass(:name)"
            )
            return list(self.connection.execute(text(query), {"name": name}).one())
        query = "SELECT type, sql FROM sqlite_master WHERE name = :name"
        return list(self.connection.execute(text(query), {"name": self.events.name}).one())
