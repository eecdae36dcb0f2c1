"""The table of exposures: what users of an experiment were shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Column, DateTime, Engine, MetaData, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from source.engine import database_errors
from source.schema import SourceSchema

TABLE = "hourfeed_exposures"


class ExposureRow(NamedTuple):
    """A row; `entry_id` is that of the stream, `posts` are written like a slate, `at` is aware."""

    entry_id: str
    at: datetime
    experiment: str
    arm: str
    user_id: str
    generation: str
    posts: str


def exposures_table(schema: SourceSchema) -> Table:
    """Return the table, in the database schema of the events."""
    in_schema = schema.events.table.rpartition(".")[0] or None
    texts = [Column(name, Text, nullable=False) for name in ("arm", "user_id", "generation", "posts")]
    return Table(
        TABLE,
        MetaData(),
        Column("entry_id", Text, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("experiment", Text, nullable=False, index=True),
        *texts,
        schema=in_schema,
    )


def insert_exposures(engine: Engine, schema: SourceSchema, rows: Sequence[ExposureRow]) -> None:
    """Insert rows that are new by their entry, in one transaction; the table is made where it lacks."""
    table = exposures_table(schema)
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    named = [row._asdict() | {"at": row.at.astimezone(UTC).replace(tzinfo=None)} for row in rows]
    with database_errors(engine, "draining exposures"), engine.begin() as connection:
        table.create(connection, checkfirst=True)
        connection.execute(insert(table).on_conflict_do_nothing(), named)
