"""The table of exposures: what users of an experiment were shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, DateTime, Engine, MetaData, Table, Text, and_, cast, inspect, select
from sqlalchemy.dialects import postgresql, sqlite

from source.engine import database_errors
from source.existing import find_table, whole_seconds
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


def read_exposures(engine: Engine, schema: SourceSchema, experiment: str) -> list[ExposureRow]:
    """Return the exposures of an experiment, in the order of their time."""
    table = exposures_table(schema)
    columns = [table.c[name] for name in ExposureRow._fields]
    query = select(*columns).where(table.c.experiment == experiment).order_by(table.c.at)
    with database_errors(engine, "reading exposures"), engine.connect() as connection:
        if not inspect(connection).has_table(table.name, schema=table.schema):
            return []
        rows = [ExposureRow(*row) for row in connection.execute(query)]
    return [row._replace(at=row.at.replace(tzinfo=UTC)) for row in rows]


def read_responses(
    engine: Engine, schema: SourceSchema, actions: Sequence[str], begin: datetime, end: datetime
) -> list[tuple[str, str, int]]:
    """Return (user id, post id, second since 1970) of the events of some actions in [begin, end]."""
    with database_errors(engine, "reading events"), engine.connect() as connection:
        events = find_table(connection, schema, "events")
        if events is None:
            return []
        at_s: Any = whole_seconds(connection, events.columns["timestamp"])
        ids = (cast(events.columns[name], Text) for name in ("user_id", "post_id"))
        wanted = and_(
            cast(events.columns["action"], Text).in_(list(actions)),
            at_s.between(int(begin.timestamp()), int(end.timestamp())),
        )
        return [tuple(row) for row in connection.execute(select(*ids, at_s).where(wanted))]
