"""Rows written into both databases: new, replaced, left; and how tables come to be."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, inspect, text

from source.engine import open_engine
from source.errors import SourceError
from source.schema import EventNames, PostNames, SourceSchema, UserNames
from source.write import write_rows

SCHEMA = SourceSchema()


def rows_of(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def events(*rows: tuple[str, Any, Any, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["timestamp", "user_id", "post_id", "action"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"]))


def test_an_event_that_is_there_is_left_and_not_counted(engine: Engine) -> None:
    first = events(("2021-12-20 15:00:00", 1, 10, "view"), ("2021-12-20 15:00:01", 1, 10, "view"))
    again = events(("2021-12-20 15:00:01", 1, 10, "view"), ("2021-12-20 15:00:01", 1, 10, "like"))
    assert write_rows(engine, SCHEMA, "events", first) == 2
    assert write_rows(engine, SCHEMA, "events", again) == 1
    assert rows_of(engine, "SELECT action FROM feed_data ORDER BY timestamp, action") == [
        ("view",),
        ("like",),
        ("view",),
    ]


def test_a_user_that_is_there_gets_only_the_given_columns_replaced(engine: Engine) -> None:
    write_rows(engine, SCHEMA, "users", pd.DataFrame({"user_id": [1, 2], "age": [30, 40], "city": ["Oslo", "Bonn"]}))
    new = write_rows(engine, SCHEMA, "users", pd.DataFrame({"user_id": [2, 3], "age": [41, 50]}))
    assert new == 1
    assert rows_of(engine, "SELECT user_id, age, city FROM user_data ORDER BY user_id") == [
        (1, 30, "Oslo"),
        (2, 41, "Bonn"),
        (3, 50, None),
    ]


def test_the_last_of_several_rows_of_one_post_wins(engine: Engine) -> None:
    frame = pd.DataFrame({"post_id": [7, 8, 7], "text": ["old", "eight", "new"]})
    assert write_rows(engine, SCHEMA, "posts", frame) == 2
    assert rows_of(engine, "SELECT post_id, text, topic FROM post_text_df ORDER BY post_id") == [
        (7, "new", None),
        (8, "eight", None),
    ]


def test_ids_alone_are_written_and_written_again(engine: Engine) -> None:
    frame = pd.DataFrame({"user_id": ["a", "\\."]})
    assert write_rows(engine, SCHEMA, "users", frame) == 2
    assert write_rows(engine, SCHEMA, "users", frame) == 0


def test_texts_come_back_as_they_were(engine: Engine) -> None:
    texts = ['a "quoted", text', "two\nlines\r\n", "\\.", "\\N", "NULL", "", None, "тест 日本 🎉", " 100% :name "]
    frame = pd.DataFrame({"post_id": range(len(texts)), "text": texts})
    write_rows(engine, SCHEMA, "posts", frame)
    assert [row[0] for row in rows_of(engine, "SELECT text FROM post_text_df ORDER BY post_id")] == texts


def test_columns_get_types_by_meaning_and_further_ones_by_their_values(engine: Engine) -> None:
    frame = pd.DataFrame(
        {"user_id": [-(2**63)], "age": [30], "gender": ["f"], "score": [0.5], "visits": [2**40], "region": ["SP"]}
    )
    write_rows(engine, SCHEMA, "users", frame)
    types = {entry["name"]: str(entry["type"]) for entry in inspect(engine).get_columns("user_data")}
    assert types.pop("score") in {"DOUBLE", "DOUBLE PRECISION"}
    assert types == {"user_id": "BIGINT", "age": "INTEGER", "gender": "TEXT", "visits": "BIGINT", "region": "TEXT"}
    assert rows_of(engine, "SELECT * FROM user_data") == [(-(2**63), 30, "f", 0.5, 2**40, "SP")]


def test_a_missing_column_is_added_to_a_table_that_is_there(engine: Engine) -> None:
    write_rows(engine, SCHEMA, "posts", pd.DataFrame({"post_id": [1]}))
    when = pd.to_datetime(["2021-12-20 15:00:00"])
    write_rows(engine, SCHEMA, "posts", pd.DataFrame({"post_id": [2], "published_at": when, "hidden": [True]}))
    found = rows_of(engine, "SELECT post_id, hidden FROM post_text_df ORDER BY post_id")
    assert [(post_id, None if hidden is None else bool(hidden)) for post_id, hidden in found] == [(1, None), (2, True)]


def test_a_table_that_is_there_rules_the_type_of_ids(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE user_data (user_id VARCHAR(20), age INTEGER)"))
    write_rows(engine, SCHEMA, "users", pd.DataFrame({"user_id": [5], "age": [30.0]}))
    assert rows_of(engine, "SELECT user_id, age FROM user_data") == [("5", 30)]
    assert write_rows(engine, SCHEMA, "users", pd.DataFrame({"user_id": ["5"], "age": [31]})) == 0
    with pytest.raises(SourceError, match="column age of type str does not fit the table user_data"):
        write_rows(engine, SCHEMA, "users", pd.DataFrame({"user_id": ["6"], "age": ["old"]}))


def test_a_table_with_doubled_events_is_refused_in_words(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE feed_data (timestamp TIMESTAMP, user_id BIGINT, post_id BIGINT, action TEXT)")
        )
        for _ in range(2):
            connection.execute(text("INSERT INTO feed_data VALUES ('2021-12-20 15:00:00', 1, 2, 'view')"))
    with pytest.raises(
        SourceError, match="feed_data holds rows that are the same in action, post_id, timestamp, user_id"
    ):
        write_rows(engine, SCHEMA, "events", events(("2021-12-20 15:00:00", 1, 10, "view")))


def test_a_table_without_a_key_column_is_refused_with_the_setting_to_change(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE feed_data (moment TIMESTAMP, user_id BIGINT, post_id BIGINT, action TEXT)")
        )
    with pytest.raises(SourceError, match=r"no column timestamp; it has moment, .*\[source.events\] timestamp ="):
        write_rows(engine, SCHEMA, "events", events(("2021-12-20 15:00:00", 1, 10, "view")))


def test_tables_and_columns_can_have_any_names(engine: Engine) -> None:
    schema = SourceSchema(
        users=UserNames(table="Select", user_id="group"),
        posts=PostNames(table="order", post_id="table", text="from"),
        events=EventNames(table="Log", timestamp="at", user_id="user", post_id="where", action="do"),
    )
    for _ in range(2):
        write_rows(engine, schema, "users", pd.DataFrame({"user_id": [1], "limit": [2]}))
        write_rows(engine, schema, "posts", pd.DataFrame({"post_id": [1], "text": ["x"]}))
        write_rows(engine, schema, "events", events(("2021-12-20 15:00:00", 1, 10, "view")))
    assert rows_of(engine, 'SELECT "group", "limit" FROM "Select"') == [(1, 2)]
    assert rows_of(engine, 'SELECT "table", "from" FROM "order"') == [(1, "x")]
    assert rows_of(engine, 'SELECT "user", "where", "do" FROM "Log"') == [(1, 10, "view")]


def test_times_in_sqlite_compare_with_the_times_sqlalchemy_binds(sqlite_url: str, tmp_path: Path) -> None:
    engine = open_engine(sqlite_url, tmp_path)
    write_rows(engine, SCHEMA, "events", events(("2021-12-20 15:00:00.25", 1, 10, "view")))
    assert rows_of(engine, "SELECT timestamp FROM feed_data") == [("2021-12-20 15:00:00.250000",)]
    engine.dispose()


def test_a_time_with_time_zone_in_postgres_gets_utc(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)
    with engine.begin() as connection:
        connection.execute(text("SET TIME ZONE 'Asia/Tokyo'"))
        connection.execute(
            text("CREATE TABLE feed_data (timestamp TIMESTAMPTZ, user_id UUID, post_id INTEGER, action TEXT)")
        )
    user_id = "5a1f3c9e-0000-4000-8000-000000000001"
    write_rows(engine, SCHEMA, "events", events(("2021-12-20 15:00:00", user_id, 10, "view")))
    found = rows_of(engine, "SELECT timestamp AT TIME ZONE 'UTC', CAST(user_id AS TEXT) FROM feed_data")
    assert found == [(pd.Timestamp("2021-12-20 15:00:00").to_pydatetime(), user_id)]
    engine.dispose()


def test_an_unknown_column_of_an_event_and_a_missing_one_are_named(engine: Engine) -> None:
    frame = events(("2021-12-20 15:00:00", 1, 10, "view"))
    with pytest.raises(SourceError, match="have no column device"):
        write_rows(engine, SCHEMA, "events", frame.assign(device="phone"))
    with pytest.raises(SourceError, match="lack action"):
        write_rows(engine, SCHEMA, "events", frame.drop(columns="action"))
