"""A database with names of its own: what is named and not there is refused, and ids that do not join are told."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from batch.event_log.log import LogOptions
from batch.read import ReadOptions, read_tables
from batch.tables import Tables
from source.engine import open_engine
from source.errors import SourceError
from source.schema import SourceSchema

PREPARED = (
    "CREATE TABLE people (uid bigint, country text)",
    "CREATE TABLE articles (aid bigint, title text, deleted boolean, online_from timestamp)",
    "CREATE TABLE log (at timestamp, uid bigint, aid bigint, deed text, did_like smallint)",
    "INSERT INTO people VALUES (1, 'NL')",
    "INSERT INTO articles VALUES (7, 'hello', true, '2021-12-01 00:00:00')",
    "INSERT INTO log VALUES ('2021-12-05 00:00:00', 1, 7, 'view', 0)",
)
NAMES: dict[str, dict[str, str]] = {
    "users": {"table": "people", "user_id": "uid"},
    "posts": {"table": "articles", "post_id": "aid", "text": "title", "hidden": "deleted"},
    "events": {"table": "log", "timestamp": "at", "user_id": "uid", "post_id": "aid", "action": "deed"},
}


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(database_url, tmp_path)
    execute(opened, *PREPARED)
    yield opened
    opened.dispose()


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def named(kind: str, **changed: str) -> SourceSchema:
    """Return the names of the tables above, some of one kind changed."""
    return SourceSchema.model_validate({**NAMES, kind: {**NAMES[kind], **changed}})


def read(engine: Engine, folder: Path, schema: SourceSchema) -> Tables:
    as_of = datetime(2021, 12, 20, tzinfo=UTC)
    return read_tables(
        engine,
        schema,
        as_of,
        ReadOptions(LogOptions(folder / "log", {"view": 1}, 0), 0.0, folder / "quarantine"),
        lambda _rows: None,
    )


def refusal(engine: Engine, folder: Path, schema: SourceSchema) -> str:
    with pytest.raises(SourceError) as raised:
        read(engine, folder, schema)
    return str(raised.value)


def test_names_that_are_there_are_read(engine: Engine, tmp_path: Path) -> None:
    tables = read(engine, tmp_path, named("events", target="did_like"))
    assert (tables.users.profile["country"].tolist(), tables.posts.text.tolist()) == (["NL"], ["hello"])
    assert (tables.posts.hidden.tolist(), len(tables.events.at_s), tables.notes) == ([True], 1, ())


HAS = {
    "users": "the table people has no column {}; it has uid, country.",
    "posts": "the table articles has no column {}; it has aid, title, deleted, online_from.",
    "events": "the table log has no column {}; it has at, uid, aid, deed, did_like.",
}


@pytest.mark.parametrize(
    ("kind", "column", "name", "remedy"),
    [
        ("events", "action", "ded", 'Did you mean deed? Name it in hourfeed.toml: [source.events] action = "deed"'),
        (
            "events",
            "timestamp",
            "nope",
            "If one of them is meant, name it in hourfeed.toml: [source.events] timestamp = …",
        ),
        ("users", "user_id", "UIDS", 'Did you mean uid? Name it in hourfeed.toml: [source.users] user_id = "uid"'),
        ("posts", "post_id", "nope", "If one of them is meant, name it in hourfeed.toml: [source.posts] post_id = …"),
        ("posts", "text", "titel", 'Did you mean title? Name it in hourfeed.toml: [source.posts] text = "title"'),
        (
            "posts",
            "hidden",
            "delted",
            'Did you mean deleted? Name it in hourfeed.toml: [source.posts] hidden = "deleted"',
        ),
    ],
)
def test_a_column_that_is_named_and_not_there_is_refused(
    engine: Engine, tmp_path: Path, kind: str, column: str, name: str, remedy: str
) -> None:
    variable = f"HOURFEED_SOURCE__{kind.upper()}__{column.upper()}"
    wanted = f"{HAS[kind].format(name)} {remedy} (or in {variable})"
    assert refusal(engine, tmp_path, named(kind, **{column: name})) == wanted


@pytest.mark.parametrize("column", ["user_id", "post_id", "timestamp", "action"])
def test_a_required_column_is_missed_under_its_default_name_too(engine: Engine, tmp_path: Path, column: str) -> None:
    names = {key: name for key, name in NAMES["events"].items() if key != column}
    schema = SourceSchema.model_validate({**NAMES, "events": names})
    assert refusal(engine, tmp_path, schema).startswith(f"the table log has no column {column}; it has at, uid, aid, ")


def test_a_column_that_passes_for_another_is_listed_all_the_same(engine: Engine, tmp_path: Path) -> None:
    execute(engine, "CREATE TABLE deeds (timestamp timestamp, user_id bigint, post_id bigint, action text)")
    message = refusal(engine, tmp_path, SourceSchema.model_validate({"events": {"table": "deeds", "action": "verb"}}))
    assert "it has timestamp, user_id, post_id, action. Did you mean action?" in message


def test_optional_columns_and_tables_of_default_names_may_be_absent(engine: Engine, tmp_path: Path) -> None:
    schema = SourceSchema.model_validate({"events": NAMES["events"], "posts": {"table": "articles", "post_id": "aid"}})
    tables = read(engine, tmp_path, schema)
    assert (tables.users.profile, tables.posts.text.tolist(), tables.posts.hidden.tolist()) == ({}, [""], [False])


@pytest.mark.parametrize("kind", ["users", "posts", "events"])
def test_a_table_that_is_named_and_not_there_is_refused(engine: Engine, tmp_path: Path, kind: str) -> None:
    execute(engine, "CREATE VIEW seen AS SELECT * FROM log")
    assert refusal(engine, tmp_path, named(kind, table="nope")) == (
        "there is no table nope; the database has articles, log, people, seen. Name yours in hourfeed.toml: "
        f"[source.{kind}] table = … (or in HOURFEED_SOURCE__{kind.upper()}__TABLE)"
    )


def test_a_table_of_nearly_that_name_is_suggested(engine: Engine, tmp_path: Path) -> None:
    assert 'Did you mean articles? Name it in hourfeed.toml: [source.posts] table = "articles" (or' in refusal(
        engine, tmp_path, named("posts", table="artikles")
    )


def test_a_table_of_a_schema_that_is_not_there_is_refused(engine: Engine, tmp_path: Path) -> None:
    assert refusal(engine, tmp_path, named("users", table="net.nope")).startswith(
        "there is no table net.nope; net has no tables. Name yours in"
    )


def test_the_tables_of_the_schema_are_listed_and_suggested_with_it(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)
    try:
        execute(engine, *PREPARED, "CREATE SCHEMA net", "CREATE TABLE net.people (uid bigint)")
        execute(engine, "CREATE MATERIALIZED VIEW net.folks AS SELECT uid FROM people")
        message = refusal(engine, tmp_path, named("users", table="net.peple"))
    finally:
        engine.dispose()
    assert message.startswith("there is no table net.peple; net has folks, people. Did you mean net.people?")
    assert '[source.users] table = "net.people"' in message


AS_NUMBERS = {"postgresql": "extract(epoch FROM at)::bigint", "sqlite": "CAST(strftime('%s', at) AS integer)"}
REMEDIES = {"postgresql": "to_timestamp(at) AS at", "sqlite": "datetime(at, 'unixepoch') AS at"}


def test_events_with_times_as_numbers_are_refused_and_the_view_of_the_message_helps(
    engine: Engine, tmp_path: Path
) -> None:
    database = engine.dialect.name
    execute(
        engine,
        "CREATE TABLE counted (at bigint, uid bigint, aid bigint, deed text)",
        f"INSERT INTO counted SELECT {AS_NUMBERS[database]}, uid, aid, deed FROM log",
    )
    message = refusal(engine, tmp_path, named("events", table="counted"))
    assert message.startswith(
        "the column at of the table counted is of the type bigint, which is no time. Make a view "
    )
    assert f"with {REMEDIES[database]} (at / 1000.0 where that is milliseconds), and name it" in message
    assert "[source.events] table = …" in message
    execute(engine, f"CREATE VIEW timed AS SELECT {REMEDIES[database]}, uid, aid, deed FROM counted")
    tables = read(engine, tmp_path, named("events", table="timed"))
    assert tables.events.at_s.tolist() == [int(datetime(2021, 12, 5, tzinfo=UTC).timestamp())]


@pytest.mark.parametrize("type_", ["bigint", "double precision"])
def test_posts_with_times_as_numbers_are_refused(engine: Engine, tmp_path: Path, type_: str) -> None:
    execute(engine, f"ALTER TABLE articles ADD COLUMN born {type_}")
    message = refusal(engine, tmp_path, named("posts", published_at="born"))
    assert message.startswith("the column born of the table articles is of the type ")
    assert "which is no time" in message
    assert "[source.posts] table = …" in message


def test_times_as_text_are_right_in_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    engine = open_engine(sqlite_url, tmp_path)
    try:
        execute(engine, *PREPARED, "CREATE TABLE spelt (at text, uid int, aid int, deed text)")
        execute(engine, "INSERT INTO spelt SELECT * FROM (SELECT at, uid, aid, deed FROM log)")
        assert len(read(engine, tmp_path, named("events", table="spelt")).events.at_s) == 1
    finally:
        engine.dispose()


def test_times_as_text_are_refused_in_postgres_and_the_alter_of_the_message_helps(
    postgres_url: str, tmp_path: Path
) -> None:
    engine = open_engine(postgres_url, tmp_path)
    try:
        execute(engine, *PREPARED, 'CREATE SCHEMA net; CREATE TABLE net."Spelt" AS SELECT * FROM log')
        execute(engine, 'ALTER TABLE net."Spelt" ALTER COLUMN at TYPE varchar(40)')
        schema = named("events", table="net.Spelt")
        message = refusal(engine, tmp_path, schema)
        assert (
            "is of the type varchar(40), which is no time. Make a view with CAST(at AS timestamptz) AS at," in message
        )
        alter = message[message.index("ALTER TABLE") :]
        assert alter == 'ALTER TABLE net."Spelt" ALTER COLUMN at TYPE timestamptz USING CAST(at AS timestamptz)'
        execute(engine, alter)
        assert len(read(engine, tmp_path, schema).events.at_s) == 1
    finally:
        engine.dispose()


@pytest.mark.parametrize("type_", ["date", "timestamptz", "moment"])
def test_dates_and_domains_over_times_are_times_in_postgres(postgres_url: str, tmp_path: Path, type_: str) -> None:
    engine = open_engine(postgres_url, tmp_path)
    try:
        execute(engine, *PREPARED, "CREATE DOMAIN moment AS timestamptz CHECK (VALUE > '1970-01-01')")
        execute(engine, "SET TIME ZONE 'UTC'", f"ALTER TABLE log ALTER COLUMN at TYPE {type_} USING at::{type_}")
        midnight = int(datetime(2021, 12, 5, tzinfo=UTC).timestamp())
        assert read(engine, tmp_path, named("events")).events.at_s.tolist() == [midnight]
    finally:
        engine.dispose()


def with_events(engine: Engine, pairs: list[tuple[Any, Any]], id_type: str = "bigint") -> SourceSchema:
    execute(
        engine,
        f"CREATE TABLE visits (at timestamp, uid {id_type}, aid {id_type}, deed text)",
        *(f"INSERT INTO visits VALUES ('2021-12-06 00:00:00', '{user}', '{post}', 'view')" for user, post in pairs),
    )
    return named("events", table="visits")


def test_ids_of_another_kind_are_noted_for_users_and_posts(engine: Engine, tmp_path: Path) -> None:
    schema = with_events(engine, [("u1", "p1"), ("u2", "p1"), ("u2", "p2")], "text")
    assert read(engine, tmp_path, schema).notes == (
        "only 0 of 2 users of the log are in people; are the ids of one kind?",
        (
            "only 0 of 2 posts of the log are in articles; the others count as deleted and are not shown; "
            "are the ids of one kind?"
        ),
    )


def test_ids_of_which_half_join_are_not_noted(engine: Engine, tmp_path: Path) -> None:
    # Of the users 1 and 2 one is in the table; of the posts 7, 8 and 9 one is.
    schema = with_events(engine, [(1, 7), (1, 8), (2, 9)])
    assert [note.partition(";")[0] for note in read(engine, tmp_path, schema).notes] == [
        "only 1 of 3 posts of the log are in articles"
    ]


def test_a_post_that_is_published_later_joins_all_the_same(engine: Engine, tmp_path: Path) -> None:
    execute(engine, "UPDATE articles SET online_from = '2022-01-01 00:00:00'")
    schema = SourceSchema.model_validate({**NAMES, "posts": {**NAMES["posts"], "published_at": "online_from"}})
    assert read(engine, tmp_path, schema).notes == ()


def test_empty_tables_of_users_and_posts_are_not_noted(engine: Engine, tmp_path: Path) -> None:
    execute(engine, "DELETE FROM people", "DELETE FROM articles")
    assert read(engine, tmp_path, named("events")).notes == ()
