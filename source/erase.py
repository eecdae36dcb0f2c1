"""A user's rows in the database: counted, or deleted."""

from typing import Any

from sqlalchemy import Connection, Engine, Text, cast, delete, func, select

from source.engine import database_errors
from source.existing import ExistingTable, find_table
from source.schema import SourceSchema

_TABLES = ("events", "users")


def count_rows_of(engine: Engine, schema: SourceSchema, user_id: str) -> dict[str, int]:
    """Return how many rows each table holds of a user, by the table's name; tables without any are left out."""
    with database_errors(engine, "counting a user's rows"), engine.connect() as connection:
        found = {table.name: _count(connection, table, user_id) for table in _tables(connection, schema)}
    return {name: rows for name, rows in found.items() if rows}


def delete_rows_of(engine: Engine, schema: SourceSchema, user_id: str) -> dict[str, int]:
    """Delete a user's events, then the user, in one transaction; return what went, as `count_rows_of` does."""
    deleted = {}
    with database_errors(engine, "deleting a user's rows"), engine.begin() as connection:
        for table in _tables(connection, schema):
            deleted[table.name] = connection.execute(_delete(table, user_id)).rowcount
    return {name: rows for name, rows in deleted.items() if rows}


def _tables(connection: Connection, schema: SourceSchema) -> list[ExistingTable]:
    found = (find_table(connection, schema, kind) for kind in _TABLES)  # type: ignore[arg-type]
    return [table for table in found if table is not None]


def _count(connection: Connection, table: ExistingTable, user_id: str) -> int:
    clause = table.columns["user_id"].table
    return connection.scalar(select(func.count()).select_from(clause).where(_is_of(table, user_id))) or 0


def _delete(table: ExistingTable, user_id: str) -> Any:
    clause: Any = table.columns["user_id"].table
    return delete(clause).where(_is_of(table, user_id))


def _is_of(table: ExistingTable, user_id: str) -> Any:
    column = table.columns["user_id"]
    if table.id_type("user_id") is int and user_id.removeprefix("-").isdecimal():
        return column == int(user_id)  # so that an index can be used
    return cast(column, Text) == user_id
