"""Names of tables and columns reach the database quoted, or not at all, whatever stands in settings and files."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine

from batch.event_log.log import LogOptions
from batch.read import ReadOptions, read_tables
from source.drained import drained_table
from source.erase import delete_rows_of
from source.exposures import exposures_table
from source.load import load_folder
from source.reader import Reader
from source.schema import EventNames, PostNames, SourceSchema, UserNames

HOSTILE = (
    'x"; DROP TABLE feed_data; --',
    "x'; DROP TABLE feed_data; --",
    "feed_data; DROP TABLE feed_data",
    "feed_data--",
    "feed_data/**/",
    "(SELECT 1)",
    "a.b.c",
    ".feed_data",
    "public.",
    "1st",
    "na me",
    "na\nme",
    "name\n",
    "na\0me",
    "%(x)s",
    ":name",
    "",
    "n" * 64,
    f"public.{'n' * 64}",
    "Straße",
    "а",
)
ODD = (
    'q"; DROP TABLE feed_data; --',
    "a.b",
    "50%",
    "%(x)s",
    ":name",
    "{curly}",
    "ünï çode",
    "select",
    "n" * 63,
    "B",
)
"""Names that a database may well have, and that cannot be asked for by settings."""


@pytest.mark.parametrize("name", HOSTILE)
def test_settings_refuse_what_is_no_name(name: str) -> None:
    for make in (
        lambda: EventNames(table=name),
        lambda: EventNames(user_id=name),
        lambda: PostNames(text=name),
        lambda: UserNames(table=name),
    ):
        with pytest.raises(ValidationError, match="is not a table or column name"):
            make()


def make_tables(engine: Engine) -> None:
    columns = ", ".join('"' + name.replace('"', '""') + '" bigint' for name in ODD)
    with engine.begin() as connection:
        for statement in (
            f"CREATE TABLE user_data (user_id bigint PRIMARY KEY, {columns})",
            f"INSERT INTO user_data VALUES (7, {', '.join(map(str, range(len(ODD))))})",
            "CREATE TABLE feed_data (timestamp timestamp, user_id bigint, post_id bigint, action text)",
            "INSERT INTO feed_data VALUES ('2024-05-01 10:00:00', 7, 1, 'like')",
        ):
            connection.connection.cursor().execute(statement)  # as it is: SQLAlchemy would take :name for a parameter


def test_columns_with_hostile_names_in_the_users_table_are_read_as_features(engine: Engine, tmp_path: Path) -> None:
    make_tables(engine)
    options = ReadOptions(LogOptions(tmp_path / "log", {"like": 1}, 0), 0.0, tmp_path)
    as_of = datetime(2024, 5, 2, tzinfo=UTC)
    tables = read_tables(engine, SourceSchema(), as_of, options, lambda rows: None)
    assert {name: float(column[0]) for name, column in tables.users.profile.items()} == {
        name: float(place) for place, name in enumerate(ODD)
    }
    assert len(tables.events.at_s) == 1
    found = Reader(engine, SourceSchema(), 5).user("7")
    assert found == {"id": 7, **{name: place for place, name in enumerate(ODD)}}


def test_ids_that_hold_sql_are_values(engine: Engine) -> None:
    make_tables(engine)
    reader = Reader(engine, SourceSchema(), 5)
    for hostile in ("7; DROP TABLE feed_data", "' OR '1'='1", "7) OR (1=1", "\x00"):
        assert reader.user(hostile) is None
        assert reader.events("user_id", hostile, 10) == []
        assert delete_rows_of(engine, SourceSchema(), hostile.replace("\x00", "%")) == {}
    events = reader.events("user_id", "7", 10)
    assert events is not None
    assert len(events) == 1


def test_columns_of_a_file_with_hostile_names_are_passed_over(engine: Engine, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in (*HOSTILE[:6], "n" * 64))
    (files / "users.csv").write_text(f"user_id,age,{quoted}\n1,30{',x' * 7}\n")
    report = load_folder(files, engine, SourceSchema(), ("like",), tmp_path / "quarantine")
    assert report.files[0].new == 1
    assert set(report.files[0].ignored_columns) == {*HOSTILE[:6], "n" * 64}


def test_tables_beside_that_of_events_lie_in_its_schema_and_are_quoted(engine: Engine) -> None:
    schema = SourceSchema(events=EventNames(table="Odd$Schema.Feed_Data"))
    for table in (drained_table(schema), exposures_table(schema)):
        written = engine.dialect.identifier_preparer.format_table(table)
        assert written == f'"Odd$Schema".{table.name}'
