"""The marker of a simulation: what was simulated where, so that a second run knows its own rows."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnClause, Engine, TableClause, column, inspect, literal, select

from demo.errors import DemoError
from demo.parameters import Parameters
from source.engine import database_errors
from source.schema import SourceSchema

MARKER = "simulated.json"


@dataclass(frozen=True)
class Marker:
    """The parameters, the place (see `database_place`), and what was written; None while it is being written."""

    parameters: Parameters
    place: str
    summary: dict[str, Any] | None

    def is_of(self, parameters: Parameters, place: str, *, keep_end: bool) -> bool:
        """Tell whether this marks the same simulation in the same place, with `keep_end` whatever its end."""
        wanted = replace(parameters, end=self.parameters.end) if keep_end else parameters
        return self.place == place and self.parameters == wanted

    def write(self, path: Path) -> None:
        """Write the marker, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"parameters": self.parameters.to_json(), "place": self.place, "summary": self.summary}
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_text(json.dumps(content, indent=1, default=_time) + "\n", encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Marker | None":
        """Read what `write` wrote; None where there is nothing, or nothing that this version understands."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            given = content["parameters"]
            parameters = Parameters(**{**given, "end": datetime.fromisoformat(given["end"])})
            return cls(parameters, content["place"], content["summary"])
        except (FileNotFoundError, KeyError, TypeError, ValueError, DemoError):
            return None


def database_place(engine: Engine, schema: SourceSchema) -> str:
    """Return a digest of the database's address and the tables' names; it tells nothing of either."""
    address = engine.url.render_as_string(hide_password=True)
    if engine.url.database and engine.dialect.name == "sqlite":
        address = str(Path(engine.url.database).resolve())
    names = (schema.users.table, schema.posts.table, schema.events.table)
    return hashlib.sha256(" ".join((address, *names)).encode()).hexdigest()[:16]


def first_filled_table(engine: Engine, schema: SourceSchema) -> str | None:
    """Return the name of one of the three tables that holds a row, or None."""
    with database_errors(engine, "looking for rows"), engine.connect() as connection:
        for name in (schema.users.table, schema.posts.table, schema.events.table):
            in_schema, _, table = name.rpartition(".")
            if not inspect(connection).has_table(table, schema=in_schema or None):
                continue
            found = select(literal(1)).select_from(TableClause(table, schema=in_schema or None)).limit(1)
            if connection.execute(found).first() is not None:
                return name
    return None


def user_ids(engine: Engine, schema: SourceSchema) -> list[Any]:
    """Return the ids in the table of users, ascending."""
    in_schema, _, table = schema.users.table.rpartition(".")
    user_id: ColumnClause[Any] = column(schema.users.user_id)
    ids = select(user_id).select_from(TableClause(table, user_id, schema=in_schema or None)).order_by(user_id)
    with database_errors(engine, "reading user ids"), engine.connect() as connection:
        return list(connection.execute(ids).scalars())


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no form in JSON")
