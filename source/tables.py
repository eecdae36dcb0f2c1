"""The tables in the database: which columns they have, and how what is missing is created."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Double,
    Float,
    Index,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    inspect,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import NullType, TypeEngine

from source.errors import SourceError
from source.naming import missing_column
from source.schema import SourceSchema

Kind = Literal["users", "posts", "events"]
Form = Literal["integer", "number", "text", "time", "boolean", "uuid", "other"]


@dataclass(frozen=True)
class ColumnForm:
    """What a column can hold: whole numbers of so many bits, text of so many characters, and so on."""

    form: Form
    bits: int = 64
    max_length: int | None = None
    nullable: bool = True


INTEGER, NUMBER, TEXT = ColumnForm("integer"), ColumnForm("number"), ColumnForm("text")
TIME, BOOLEAN = ColumnForm("time"), ColumnForm("boolean")

KNOWN: dict[Kind, dict[str, ColumnForm]] = {
    "users": {
        **dict.fromkeys(("gender", "age", "exp_group"), ColumnForm("integer", bits=32)),
        **dict.fromkeys(("country", "city", "os", "source"), TEXT),
    },
    "posts": {"text": TEXT, "topic": TEXT, "published_at": TIME, "author_id": TEXT, "hidden": BOOLEAN},
    "events": {"timestamp": TIME, "action": TEXT, "target": ColumnForm("integer", bits=16)},
}
"""Forms of the columns whose meaning is known; ids have the form of the data."""

KEYS: dict[Kind, tuple[str, ...]] = {
    "users": ("user_id",),
    "posts": ("post_id",),
    "events": ("user_id", "post_id", "timestamp", "action"),
}
"""Columns by which two rows are the same."""

_ALWAYS: dict[Kind, tuple[str, ...]] = {"users": (), "posts": ("text", "topic"), "events": ()}


def column_names(schema: SourceSchema, kind: Kind) -> dict[str, str]:
    """Return the name in the database of each canonical column (a field of SourceSchema)."""
    names: dict[str, str] = getattr(schema, kind).model_dump()
    return {canonical: name for canonical, name in names.items() if canonical != "table"}


def existing_forms(connection: Connection, schema: SourceSchema, kind: Kind) -> dict[str, ColumnForm] | None:
    """Return the form of each column by canonical name, further columns by their own; None without the table."""
    columns = _existing_columns(connection, schema, kind)
    if columns is None:
        return None
    return {name: _form_of(entry, KNOWN[kind].get(name), connection.dialect.name) for name, entry in columns.items()}


def ensure_table(connection: Connection, schema: SourceSchema, kind: Kind, wanted: Mapping[str, ColumnForm]) -> Table:
    """Create the table, its missing columns and its indexes, and return it with canonical column keys.

    `wanted` holds the form of each column, which only counts where the column does not exist yet.
    Raises SourceError when a key column is missing or when rows of the table are the same by their key.
    """
    full_name: str = getattr(schema, kind).table
    columns = _existing_columns(connection, schema, kind)
    names = column_names(schema, kind)
    if columns is None:
        table = create_table(connection, schema, kind, wanted)
        if kind == "events":
            create_indexes(connection, table)
        return table
    for name in KEYS[kind]:
        if name not in columns:
            there = columns_there(connection, full_name) or {}
            raise missing_column(f"the table {full_name}", kind, name, names, there)
    present = [Column(entry["name"], entry["type"], key=name) for name, entry in columns.items()]
    added = [_column(kind, names, name, form) for name, form in wanted.items() if name not in columns]
    table = Table(*_table_name(full_name), *present, *added, schema=_table_schema(full_name))
    for column in added:
        _add_column(connection, table, column)
    _ensure_unique(connection, table, kind)
    return table


def create_table(connection: Connection, schema: SourceSchema, kind: Kind, wanted: Mapping[str, ColumnForm]) -> Table:
    """Create the table, which must not be there, with no index but its primary key; otherwise like `ensure_table`."""
    full_name: str = getattr(schema, kind).table
    names = column_names(schema, kind)
    forms = {**{name: KNOWN[kind][name] for name in _ALWAYS[kind]}, **wanted}
    columns = [_column(kind, names, name, form) for name, form in forms.items()]
    table = Table(*_table_name(full_name), *columns, schema=_table_schema(full_name))
    table.create(connection)
    return table


def create_indexes(connection: Connection, events: Table) -> None:
    """Create the indexes of a table of events; raise SourceError when rows of it are the same by their key."""
    _ensure_unique(connection, events, "events")
    Index(f"ix_{events.name[:50]}_timestamp", events.c.timestamp).create(connection)


def columns_there(connection: Connection, full_name: str) -> dict[str, Any] | None:
    """Return what SQLAlchemy says of each column of a table, by its name in the database; None without the table."""
    inspector = inspect(connection)
    name, in_schema = _table_name(full_name)[0], _table_schema(full_name)
    if not inspector.has_table(name, schema=in_schema):
        return None
    return {entry["name"]: entry for entry in inspector.get_columns(name, schema=in_schema)}


def _existing_columns(connection: Connection, schema: SourceSchema, kind: Kind) -> dict[str, Any] | None:
    entries = columns_there(connection, getattr(schema, kind).table)
    if entries is None:
        return None
    names = column_names(schema, kind)
    canonical = {name: key for key, name in names.items()}
    return {
        canonical.get(name, name): entry
        for name, entry in entries.items()
        if name in canonical or name not in names  # an unmapped column must not pass for a canonical one
    }


def _form_of(entry: Mapping[str, Any], known: ColumnForm | None, dialect: str) -> ColumnForm:
    nullable = bool(entry["nullable"])
    type_: TypeEngine[Any] = entry["type"]
    match type_:
        case Integer():
            return ColumnForm("integer", _bits(type_, known, dialect), nullable=nullable)
        case Numeric() | Float():
            return ColumnForm("number", nullable=nullable)
        case String() | NullType():
            length = getattr(type_, "length", None)
            return ColumnForm("time" if known == TIME else "text", max_length=length, nullable=nullable)
        case DateTime():
            return ColumnForm("time", nullable=nullable)
        case Boolean():
            return ColumnForm("boolean", nullable=nullable)
        case Uuid():
            return ColumnForm("uuid", nullable=nullable)
    return ColumnForm("other", nullable=nullable)


def _bits(type_: TypeEngine[Any], known: ColumnForm | None, dialect: str) -> int:
    if isinstance(type_, SmallInteger):
        return 16
    if known is not None and known.form == "integer":
        return known.bits  # so that both databases refuse the same ages
    return 64 if isinstance(type_, BigInteger) or dialect == "sqlite" else 32


def _type_of(form: ColumnForm) -> TypeEngine[Any]:
    if form.form == "integer":
        return {16: SmallInteger(), 32: Integer(), 64: BigInteger()}[form.bits]
    types: dict[str, TypeEngine[Any]] = {"number": Double(), "time": DateTime(), "boolean": Boolean()}
    return types.get(form.form, Text())


def _column(kind: Kind, names: Mapping[str, str], name: str, form: ColumnForm) -> Column[Any]:
    is_key = name in KEYS[kind]
    return Column(
        names.get(name, name),
        _type_of(form),
        key=name,
        nullable=not is_key,
        primary_key=is_key and kind != "events",
        autoincrement=False,
    )


def _add_column(connection: Connection, table: Table, column: Column[Any]) -> None:
    place = connection.dialect.identifier_preparer.format_table(table)
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {place} ADD COLUMN {definition}")


def _ensure_unique(connection: Connection, table: Table, kind: Kind) -> None:
    key = [table.c[name] for name in KEYS[kind]]
    wanted = {column.name for column in key}
    inspector = inspect(connection)
    primary = inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]
    unique: list[Sequence[str | None]] = [primary]
    unique += [entry["column_names"] for entry in inspector.get_unique_constraints(table.name, schema=table.schema)]
    unique += [
        entry["column_names"]
        for entry in inspector.get_indexes(table.name, schema=table.schema)
        if entry["unique"] and not entry.get("dialect_options", {}).get("postgresql_where")
    ]
    if any(set(columns) == wanted for columns in unique):
        return
    try:
        Index(f"uq_{table.name[:50]}_key", *key, unique=True).create(connection)
    except IntegrityError as error:
        raise SourceError(
            f"the table {table.fullname} holds rows that are the same in {', '.join(sorted(wanted))}, so that loading "
            "could double more of them; remove the surplus rows, or load into another table"
        ) from error


def _table_name(full_name: str) -> tuple[str, MetaData]:
    return full_name.rpartition(".")[2], MetaData()


def _table_schema(full_name: str) -> str | None:
    return full_name.rpartition(".")[0] or None
