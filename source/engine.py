"""Opens the SQL database: Postgres, or SQLite, which is the default."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from source.errors import SourceError

LOCK_WAIT_S = 60
"""Longer than what takes such locks should hold them; shorter than the pause between two runs."""
_ALLOWED = "allowed are postgresql://user:password@host:5432/name and sqlite:///path/to/file.db"
_POSTGRES = {"postgres", "postgresql", "postgresql+psycopg2"}
_SQLITE = {"sqlite", "sqlite+pysqlite"}
_LIBPQ = {
    "application_name": "hourfeed",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Parameters of the connection, unless the URL has them: a server that vanishes is given up after a minute."""


def open_engine(database_url: str | None, state: Path, **pool: Any) -> Engine:
    """Return an engine for `database_url`; without one, for SQLite in `state`/hourfeed.db. Nothing is sent yet.

    pool : what SQLAlchemy's create_engine takes for its pool of connections.
    Raises SourceError on a URL that is neither Postgres nor SQLite; its message never holds the URL's password.
    """
    if database_url is None:
        return _sqlite(URL.create("sqlite+pysqlite", database=str(state / "hourfeed.db")), pool)
    url = _parsed(database_url)
    if url.drivername in _POSTGRES:
        url = url.set(drivername="postgresql+psycopg2")
        url = url.set(query={**_LIBPQ, **url.query})
        return create_engine(url, pool_pre_ping=True, client_encoding="utf8", **pool)
    if url.drivername in _SQLITE:
        return _sqlite(url.set(drivername="sqlite+pysqlite"), pool)
    raise SourceError(f"DATABASE_URL is of the kind {url.drivername!r}, which hourfeed cannot read; {_ALLOWED}")


def _parsed(database_url: str) -> URL:
    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        # Their messages may hold a part of the password, so neither text nor cause is passed on.
        raise SourceError(f"DATABASE_URL cannot be parsed; {_ALLOWED}") from None


def _sqlite(url: URL, pool: Mapping[str, Any]) -> Engine:
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"the folder {folder} of the SQLite file cannot be made: {error.strerror}") from error
    engine = create_engine(url, connect_args={"timeout": 30}, **pool)
    event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers go on while one process writes, and keep enough of an index in memory for loading."""
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}").close()


def bound_lock_waits(connection: Connection) -> None:
    """Let the transaction wait at most LOCK_WAIT_S for another's lock, unless role or database have a bound already.

    Without one a run would wait for ever behind an ALTER TABLE that nobody commits. SQLite has a time-out anyway.
    """
    if connection.dialect.name == "postgresql":
        bound = "SELECT set_config('lock_timeout', :ms, true) WHERE current_setting('lock_timeout') = '0'"
        connection.execute(text(bound), {"ms": str(LOCK_WAIT_S * 1_000)})


@contextmanager
def database_errors(engine: Engine, doing: str) -> Iterator[None]:
    """Turn what the database raises into SourceError: `doing`, the place, the first line of its own words.

    Password, statement, parameters and details are left out; the last three may hold rows of the users' data.
    """
    try:
        yield
    except (SQLAlchemyError, psycopg2.Error, sqlite3.Error) as error:
        own_words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        if isinstance(getattr(error, "orig", error), psycopg2.errors.LockNotAvailable):
            own_words += "; another session has locked a table, as ALTER TABLE does: pg_locks says which"
        url = engine.url
        place = f"{url.host}:{url.port or 5432}/{url.database}" if url.host else url.database or ":memory:"
        raise SourceError(f"{doing} failed in {engine.dialect.name} {place}: {own_words}") from error
