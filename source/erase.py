"""A user's rows in the database: counted, or deleted."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Text, cast, delete, func, inspect, select

from source.engine import database_errors
from source.existing import ExistingTable, find_table
from source.exposures import exposures_table
from source.schema import SourceSchema
from source.tables import Kind

_KINDS: tuple[Kind, ...] = ("events", "users")


class _Rows(NamedTuple):
    """A table, and the condition that a row of it is the user's."""

    name: str
    table: Any
    are_of_user: Any


def count_rows_of(engine: Engine, schema: SourceSchema, user_id: str) -> dict[str, int]:
    """Return how many rows each table holds of a user, by the table's name; tables without any are left out."""
    found = {}
    with database_errors(engine, "counting a user's rows"), engine.connect() as connection:
        for name, table, are_of_user in _rows_of(connection, schema, user_id):
            found[name] = connection.scalar(select(func.count()).select_from(table).where(are_of_user)) or 0
    return {name: rows for name, rows in found.items() if rows}


def delete_rows_of(engine: Engine, schema: SourceSchema, user_id: str) -> dict[str, int]:
    """Delete a user's exposures, events and profile in one transaction; return what went, as `count_rows_of` does."""
    deleted = {}
    with database_errors(engine, "deleting a user's rows"), engine.begin() as connection:
        for name, table, are_of_user in _rows_of(connection, schema, user_id):
            deleted[name] = connection.execute(delete(table).where(are_of_user)).rowcount
    return {name: rows for name, rows in deleted.items() if rows}


def _rows_of(connection: Connection, schema: SourceSchema, user_id: str) -> list[_Rows]:
    exposures = exposures_table(schema)
    rows = []
    if inspect(connection).has_table(exposures.name, schema=exposures.schema):
        rows.append(_Rows(exposures.fullname, exposures, exposures.c.user_id == user_id))
    for kind in _KINDS:
        table = find_table(connection, schema, kind)
        if table is not None:
            rows.append(_Rows(table.name, table.columns["user_id"].table, _is_of(table, user_id)))
    return rows


def _is_of(table: ExistingTable, user_id: str) -> Any:
    column = table.columns["user_id"]
    if table.id_type("user_id") is int and user_id.removeprefix("-").isdecimal():
        return column == int(user_id)  # so that an index can be used
    return cast(column, Text) == user_id
