"""Reads single users, posts and their events, for a server: few rows at a time, never writing, never for long."""

import math
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Select, event, func, select, text
from sqlalchemy.exc import OperationalError

from source.engine import database_errors, open_engine
from source.errors import TooSlowError
from source.existing import ExistingTable, find_table
from source.schema import SourceSchema
from source.tables import KEYS, Kind

Row = dict[str, Any]
"""A row as JSON can hold it: times are aware and in UTC, what has no counterpart there is text."""

LIKE = "like"
_OPERATIONS_BETWEEN_LOOKS = 10_000


def open_reader(database_url: str, schema: SourceSchema, *, timeout_s: float, connections: int) -> "Reader":
    """Return a reader with at most so many connections, each opened at its first use; SourceError on a wrong URL."""
    pool = {"pool_size": connections, "max_overflow": 0, "pool_timeout": timeout_s}
    engine = open_engine(database_url, Path(), **pool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _only_query)
    return Reader(engine.execution_options(postgresql_readonly=True), schema, timeout_s)


def _only_query(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON").close()


class Reader:
    """Answers from the three tables that settings name. Ids are texts; one that no row could have finds nothing.

    Every method returns None where the table that it needs is not there. Raises TooSlowError after `timeout_s`, and
    SourceError for whatever else the database refuses.
    """

    def __init__(self, engine: Engine, schema: SourceSchema, timeout_s: float) -> None:
        self._engine = engine
        self._schema = schema
        self._timeout_s = timeout_s
        self._tables: dict[Kind, ExistingTable] = {}

    def id_type(self, kind: Literal["users", "posts"]) -> type[int] | type[str] | None:
        """Return what ids of users or posts are; None without the table."""
        with self._connection() as connection:
            table = self._table(connection, kind)
        return None if table is None else table.id_type(KEYS[kind][0])

    def user(self, user_id: str) -> Row | None:
        """Return a user's profile, the id as `id`; None where there is none."""
        with self._connection() as connection:
            return self._one(connection, "users", user_id)

    def post(self, post_id: str) -> Row | None:
        """Return a post's `id`, `text` and `topic`; None where there is none."""
        with self._connection() as connection:
            return self._one(connection, "posts", post_id)

    def events(self, of: Literal["user_id", "post_id"], identifier: str, limit: int) -> list[Row] | None:
        """Return the latest events of a user or a post, newest first, each with its `user` and `post` (or null)."""
        with self._connection() as connection:
            table = self._table(connection, "events")
            if table is None:
                return None
            value = _value(table, of, identifier)
            if value is None:
                return []
            columns = {name: table.columns[name] for name in ("user_id", "post_id", "action", "timestamp")}
            newest = columns["timestamp"].desc(), columns["user_id"], columns["post_id"], columns["action"]
            query = select(*(column.label(name) for name, column in columns.items()))
            rows = self._rows(connection, query.where(table.columns[of] == value).order_by(*newest).limit(limit))
            users = self._by_id(connection, "users", (row["user_id"] for row in rows))
            posts = self._by_id(connection, "posts", (row["post_id"] for row in rows))
        return [
            {
                "user_id": row["user_id"],
                "post_id": row["post_id"],
                "action": row["action"],
                "time": _moment(row["timestamp"]),
                "user": users.get(str(row["user_id"])),
                "post": posts.get(str(row["post_id"])),
            }
            for row in rows
        ]

    def top_posts(self, limit: int) -> list[Row] | None:
        """Return the posts with most likes in the whole log, most first, as `post` does, if they have a row."""
        with self._connection() as connection:
            table = self._table(connection, "events")
            if table is None or self._table(connection, "posts") is None:
                return None
            post_id, likes = table.columns["post_id"], func.count()
            liked = select(post_id.label("post_id")).where(table.columns["action"] == LIKE)
            query = liked.group_by(post_id).order_by(likes.desc(), post_id).limit(limit)
            ids = [row["post_id"] for row in self._rows(connection, query)]
            posts = self._by_id(connection, "posts", ids)
        return [posts[str(post_id)] for post_id in ids if str(post_id) in posts]

    def _one(self, connection: Connection, kind: Kind, identifier: str) -> Row | None:
        table = self._table(connection, kind)
        value = None if table is None else _value(table, KEYS[kind][0], identifier)
        if value is None:
            return None
        return next(iter(self._by_id(connection, kind, [value]).values()), None)

    def _by_id(self, connection: Connection, kind: Kind, ids: Iterable[Any]) -> dict[str, Row]:
        """Return rows by the text of their ids."""
        table, wanted = self._table(connection, kind), list(dict.fromkeys(ids))
        if table is None or not wanted:
            return {}
        key = KEYS[kind][0]
        names = [name for name in table.columns if name != key and (kind == "users" or name in ("text", "topic"))]
        query = select(table.columns[key].label("id"), *(table.columns[name].label(name) for name in names))
        rows = self._rows(connection, query.where(table.columns[key].in_(wanted)))
        for name in (name for name in names if table.forms[name].form == "time"):
            rows = [row | {name: _moment(row[name])} for row in rows]
        if kind == "posts":
            rows = [{"id": row["id"], "text": row.get("text") or "", "topic": row.get("topic") or ""} for row in rows]
        return {str(row["id"]): row for row in rows}

    def _rows(self, connection: Connection, query: Select[Any]) -> list[Row]:
        found = connection.execute(query).mappings().all()
        return [{str(name): _plain(value) for name, value in row.items()} for row in found]

    def _table(self, connection: Connection, kind: Kind) -> ExistingTable | None:
        """Find a table, once it is there for good."""
        if kind not in self._tables:
            table = find_table(connection, self._schema, kind)
            if table is None:
                return None
            self._tables[kind] = table
        return self._tables[kind]

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with (
            database_errors(self._engine, "reading"),
            _slow_told(self._timeout_s),
            self._engine.connect() as connection,
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL statement_timeout = {math.ceil(self._timeout_s * 1000)}"))
                connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
            else:
                _end_at(connection, time.monotonic() + self._timeout_s)
            yield connection


@contextmanager
def _slow_told(timeout_s: float) -> Iterator[None]:
    """Tell what was ended by the limit of time from other failures."""
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) == "57014" or str(error.orig) == "interrupted":
            msg = f"the database took longer than {timeout_s:g} s (database_timeout_s)"
            raise TooSlowError(msg) from error
        raise


def _end_at(connection: Connection, deadline: float) -> None:
    """Let SQLite end what runs at a moment of the monotonic clock."""
    raw: Any = connection.connection.driver_connection
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _OPERATIONS_BETWEEN_LOOKS)


def _value(table: ExistingTable, column: str, identifier: str) -> int | str | None:
    """Return an id as the database compares it, so that it can use its index; None for what no row could hold."""
    if table.id_type(column) is int:
        return int(identifier) if identifier.removeprefix("-").isdecimal() and identifier.isascii() else None
    if "\x00" in identifier or any("\ud800" <= character <= "\udfff" for character in identifier):
        return None
    if table.forms[column].form == "uuid":
        try:
            return str(uuid.UUID(identifier))
        except ValueError:
            return None
    return identifier


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case date():
            return value.isoformat()
    return str(value)


def _moment(value: Any) -> Any:
    """Read a time where SQLite gives it as text; what is none stays as it is."""
    try:
        return _plain(datetime.fromisoformat(value)) if isinstance(value, str) else value
    except ValueError:
        return value
