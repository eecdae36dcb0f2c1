"""Tables that are there, as selectable columns under their canonical names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, case, cast, column, extract, func, null, table
from sqlalchemy import Text as SqlText

from source.mapping import check_columns, check_table_may_lack
from source.schema import SourceSchema
from source.tables import ColumnForm, Kind, column_names, existing_forms


@dataclass(frozen=True)
class ExistingTable:
    """A table of the database. forms, columns : by canonical name, further columns by their own."""

    name: str
    dialect: str
    forms: Mapping[str, ColumnForm]
    columns: Mapping[str, ColumnElement[Any]]

    def id_type(self, name: str) -> type[int] | type[str]:
        """Return int where the ids of column `name` are integers, else str."""
        return int if self.forms[name].form == "integer" else str

    def id_column(self, name: str) -> ColumnElement[Any]:
        """Return an id column, as text unless its ids are integers."""
        return self.columns[name] if self.id_type(name) is int else cast(self.columns[name], SqlText)

    def has_id(self, name: str) -> ColumnElement[bool]:
        """Return the condition that a row has an id of the column's own type (SQLite lets others in), not "" either."""
        known = self.columns[name].is_not(None)
        if self.id_type(name) is str:
            return known & (self.id_column(name) != "")
        return known & (func.typeof(self.columns[name]) == "integer") if self.dialect == "sqlite" else known


def find_table(connection: Connection, schema: SourceSchema, kind: Kind) -> ExistingTable | None:
    """Return the table of that kind; None where it is not there and settings do not give it a name of its own.

    Raises SourceError where a column is missing that must be there or that settings name, and where what should be
    a time is none by its type.
    """
    forms = existing_forms(connection, schema, kind)
    if forms is None:
        check_table_may_lack(connection, schema, kind)
        return None
    check_columns(connection, schema, kind)
    names = column_names(schema, kind)
    in_schema, _, name = getattr(schema, kind).table.rpartition(".")
    own = {canonical: names.get(canonical, canonical) for canonical in forms}
    clause = table(name, *(column(own_name) for own_name in own.values()), schema=in_schema or None)
    columns = {canonical: clause.c[own_name] for canonical, own_name in own.items()}
    return ExistingTable(getattr(schema, kind).table, connection.dialect.name, forms, columns)


def whole_seconds(connection: Connection, moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the seconds since 1970 of a timestamp column, rounded down; NULL for a time that is none."""
    if connection.dialect.name == "postgresql":
        seconds = cast(func.floor(extract("epoch", moment)), BigInteger)
        return case((func.isfinite(moment), seconds), else_=null())
    fraction_cut = func.ltrim(func.substr(moment, 20), ".0123456789")  # leaves the offset, where there is one
    return cast(func.strftime("%s", func.substr(moment, 1, 19).op("||")(fraction_cut)), Integer)
