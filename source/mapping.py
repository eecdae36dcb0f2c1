"""Checks that the tables and columns which settings name are in the database, and that times are times."""

from typing import Any

from sqlalchemy import Boolean, Connection, Date, DateTime, Float, Integer, Numeric, inspect
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from source.errors import SourceError
from source.naming import missing_column, missing_table
from source.schema import SourceSchema
from source.tables import KEYS, KNOWN, TIME, Kind, column_names, columns_there


def check_table_may_lack(connection: Connection, schema: SourceSchema, kind: Kind) -> None:
    """Raise SourceError where the table of that kind, which is not there, has a name given by the settings."""
    if _has_own_name(schema, kind, "table"):
        raise missing_table(getattr(schema, kind).table, kind, _tables_beside(connection, schema, kind))


def check_columns(connection: Connection, schema: SourceSchema, kind: Kind) -> None:
    """Raise SourceError where a column is missing that must be there or that settings name, or a time is none."""
    full_name, names = getattr(schema, kind).table, column_names(schema, kind)
    there = columns_there(connection, full_name) or {}
    for canonical, name in names.items():
        if name not in there and (canonical in KEYS[kind] or _has_own_name(schema, kind, canonical)):
            raise missing_column(f"the table {full_name}", kind, canonical, names, there)
        if name in there and KNOWN[kind].get(canonical) == TIME:
            _check_time(connection, full_name, kind, name, there[name]["type"])


def _has_own_name(schema: SourceSchema, kind: Kind, field: str) -> bool:
    """Tell whether settings give a table or column another name than the default one."""
    names = getattr(schema, kind)
    return bool(getattr(names, field) != type(names).model_fields[field].default)


def _tables_beside(connection: Connection, schema: SourceSchema, kind: Kind) -> list[str]:
    """Return the tables and views of the database schema in which the table of that kind should be."""
    in_schema = getattr(schema, kind).table.rpartition(".")[0] or None
    inspector = inspect(connection)
    if in_schema and in_schema not in inspector.get_schema_names():
        return []
    found = inspector.get_table_names(in_schema) + inspector.get_view_names(in_schema)
    if connection.dialect.name == "postgresql":
        found += inspector.get_materialized_view_names(in_schema)
    return sorted(found)


def _check_time(connection: Connection, full_name: str, kind: Kind, name: str, type_: TypeEngine[Any]) -> None:
    """Raise SourceError for a column that by its type holds no times; SQLite has them as text, or of no type."""
    base = type_.data_type if isinstance(type_, DOMAIN) else type_
    is_number = isinstance(base, (Integer, Float, Numeric))
    quote = connection.dialect.identifier_preparer.quote
    at, alter = quote(name), ""
    if connection.dialect.name == "postgresql":
        is_time = isinstance(base, (DateTime, Date))
        value = f"to_timestamp({at})" if is_number else f"CAST({at} AS timestamptz)"
        place = ".".join(map(quote, full_name.split(".")))
        alter = f", or ALTER TABLE {place} ALTER COLUMN {at} TYPE timestamptz USING {value}"
    else:
        is_time = not isinstance(base, (Integer, Float, Boolean))
        value = f"datetime({at}, 'unixepoch')"
    if not is_time:
        scale = f" ({at} / 1000.0 where that is milliseconds)" if is_number else ""
        raise SourceError(
            f"the column {name} of the table {full_name} is of the type {str(base).lower()}, which is no time. Make a "
            f"view with {value} AS {at}{scale}, and name it in hourfeed.toml: [source.{kind}] table = …{alter}"
        )
