"""Writes rows into the database in bulk: COPY into Postgres, executemany into SQLite."""

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sqlalchemy import Column, Connection, Engine, MetaData, Table, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from source.engine import database_errors
from source.errors import SourceError
from source.schema import SourceSchema
from source.tables import (
    BOOLEAN,
    INTEGER,
    KEYS,
    KNOWN,
    NUMBER,
    TEXT,
    TIME,
    ColumnForm,
    Kind,
    column_names,
    ensure_table,
    existing_forms,
)

_SLICE_ROWS = 200_000
_COPIED_AS = ("FORMAT csv", "ENCODING 'UTF8'")
_ARROW = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "time": pa.timestamp("us"),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "uuid": pa.string(),
}


def write_rows(engine: Engine, schema: SourceSchema, kind: Kind, frame: pd.DataFrame) -> int:
    """Write valid rows in one transaction and return how many of them are new.

    Columns carry canonical names (fields of SourceSchema; a further user or post column its own), `timestamp` and
    `published_at` are datetime64, naive, in UTC. Tables and columns are created as needed. A user or post that is
    there gets the given columns replaced, the last of several in one frame wins; an event that is there is left.
    Raises SourceError when a column does not fit its column in the database.
    """
    check_columns(schema, kind, frame)
    if frame.empty:
        return 0
    if kind != "events":
        frame = frame.drop_duplicates(list(KEYS[kind]), keep="last")
    with database_errors(engine, f"writing {kind}"), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))  # for a timestamp with time zone
        names = [str(name) for name in frame]
        table = ensure_table(connection, schema, kind, {name: form_of(kind, frame[name]) for name in names})
        forms = existing_forms(connection, schema, kind) or {}
        rows = pa.table({name: fitting(frame[name], forms[name], table) for name in names})
        write = _write_postgres if connection.dialect.name == "postgresql" else _write_sqlite
        slices = (rows.slice(start, _SLICE_ROWS) for start in range(0, len(rows), _SLICE_ROWS))
        return sum(write(connection, table, kind, part) for part in slices)


def check_columns(schema: SourceSchema, kind: Kind, frame: pd.DataFrame) -> None:
    """Raise SourceError where a key column is missing, or one of events unknown."""
    missing = [name for name in KEYS[kind] if name not in frame]
    unknown = [str(name) for name in frame if kind == "events" and name not in column_names(schema, kind)]
    if missing or unknown:
        problem = f"lack {', '.join(missing)}" if missing else f"have no column {', '.join(unknown)}"
        raise SourceError(f"the {kind} to be written {problem}; their columns are {', '.join(map(str, frame))}")


def form_of(kind: Kind, values: "pd.Series[Any]") -> ColumnForm:
    """Return the form that a new column gets: that of its meaning where it is known, else that of its values."""
    found = TEXT
    if pd.api.types.is_bool_dtype(values.dtype):
        found = BOOLEAN
    elif pd.api.types.is_integer_dtype(values.dtype):
        found = INTEGER
    elif pd.api.types.is_float_dtype(values.dtype):
        found = NUMBER
    elif pd.api.types.is_datetime64_any_dtype(values.dtype):
        found = TIME
    known = KNOWN[kind].get(str(values.name))
    if known is None or (known.form == "integer" and found == TEXT):  # a gender may be a word
        return found
    return known


def fitting(values: "pd.Series[Any]", form: ColumnForm, table: Table) -> Any:
    """Return `values` as an Arrow array of the type that the database's column takes."""
    if form.form == "other":
        raise SourceError(
            f"the column {values.name} of the table {table.fullname} is of a type that hourfeed cannot fill; "
            "whole numbers, floating point numbers, text, times, booleans and UUIDs it can"
        )
    try:
        array = pa.array(values, from_pandas=True)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return pc.cast(array, _ARROW[form.form], safe=form.form != "time")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SourceError(
            f"the column {values.name} of type {values.dtype} does not fit the table {table.fullname}, "
            f"which takes {form.form}: {error}"
        ) from error


def _write_postgres(connection: Connection, table: Table, kind: Kind, rows: pa.Table) -> int:
    """COPY into a temporary table, and on from there."""
    names = rows.column_names
    copied = Table(
        "hourfeed_rows",
        MetaData(),
        *(Column(table.c[name].name, table.c[name].type, key=name) for name in names),
        prefixes=["TEMPORARY"],
    )
    copied.create(connection)
    copy_rows(connection, copied, rows)
    given = select(*(copied.c[name] for name in names))
    insert = postgresql.insert(table).from_select([table.c[name] for name in names], given)
    replaced = {table.c[name]: insert.excluded[name] for name in names if name not in KEYS[kind]}
    if kind == "events" or not replaced:
        written = insert.on_conflict_do_nothing()
        new = connection.execute(written.execution_options(preserve_rowcount=True)).rowcount
    else:
        (key,) = KEYS[kind]
        there = connection.scalar(select(func.count()).select_from(copied.join(table, copied.c[key] == table.c[key])))
        connection.execute(insert.on_conflict_do_update(index_elements=[table.c[key]], set_=replaced))
        new = len(rows) - (there or 0)
    copied.drop(connection)
    return new


def copy_rows(connection: Connection, table: Table, rows: pa.Table, *options: str) -> None:
    """COPY rows as CSV, in which a null is nothing and a text stands in quotes; their columns are those of `table`."""
    text_of_rows = io.BytesIO()
    pyarrow.csv.write_csv(rows, text_of_rows, pyarrow.csv.WriteOptions(include_header=False))
    text_of_rows.seek(0)
    place = connection.dialect.identifier_preparer.format_table(table)
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(f"COPY {place} FROM STDIN WITH ({', '.join((*_COPIED_AS, *options))})", text_of_rows)
    finally:
        cursor.close()


def _write_sqlite(connection: Connection, table: Table, kind: Kind, rows: pa.Table) -> int:
    """Insert what is new; replace what was there, where that is asked for and happened."""
    insert = sqlite.insert(table)
    new = _executemany(connection, insert.on_conflict_do_nothing(), rows)
    replaced = {table.c[name]: insert.excluded[name] for name in rows.column_names if name not in KEYS[kind]}
    if kind != "events" and new < len(rows) and replaced:
        keys = [table.c[name] for name in KEYS[kind]]
        _executemany(connection, insert.on_conflict_do_update(index_elements=keys, set_=replaced), rows)
    return new


def _executemany(connection: Connection, insert: sqlite.Insert, rows: pa.Table) -> int:
    """Run the statement by the driver itself, because SQLAlchemy takes its time over each row; count the inserts."""
    statement = insert.compile(dialect=connection.dialect, column_keys=rows.column_names)
    columns = [_for_sqlite(rows[name]) for name in statement.positiontup or ()]
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(str(statement), list(zip(*columns, strict=True)))
        return cursor.rowcount
    finally:
        cursor.close()


def _for_sqlite(column: Any) -> list[Any]:
    """Return Python values; times as SQLAlchemy writes and compares them: with six digits after the second."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.string())
    values: list[Any] = column.to_pylist()
    return values
