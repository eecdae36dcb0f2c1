"""Reading the database: the same arrays out of Postgres and SQLite, nothing of the future, bad rows set aside."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from batch.errors import BatchError
from batch.event_log.log import LogOptions
from batch.read import ReadOptions, read_tables
from batch.tables import Tables
from source.engine import open_engine
from source.schema import EventNames, PostNames, SourceSchema, UserNames
from source.write import write_rows

AS_OF = datetime(2021, 12, 20, 15, tzinfo=UTC)
AS_OF_S = int(AS_OF.timestamp())
ACTIONS = {"view": 1, "like": 2}


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Engine:
    return open_engine(database_url, tmp_path)


def read(engine: Engine, folder: Path, schema: SourceSchema = SourceSchema(), share: float = 0.5) -> Tables:  # noqa: B008
    try:
        return read_tables(
            engine,
            schema,
            AS_OF,
            ReadOptions(LogOptions(folder / "log", ACTIONS, 0), share, folder / "quarantine"),
            lambda _rows: None,
        )
    finally:
        engine.dispose()


def events(*rows: tuple[str, object, object, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["timestamp", "user_id", "post_id", "action"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], format="ISO8601"))


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_events_before_as_of_come_in_order_with_fractions_cut_off(engine: Engine, tmp_path: Path) -> None:
    rows = events(
        ("2021-12-20 14:59:59.999999", 7, -5, "like"),
        ("2021-12-20 15:00:00", 7, -5, "view"),
        ("2021-12-01 00:00:00.25", -9, 3, "view"),
        ("2021-12-01 00:00:00.75", -9, -5, "view"),
    )
    write_rows(engine, SourceSchema(), "events", rows)
    tables = read(engine, tmp_path)
    assert tables.users.ids.tolist() == [-9, 7]
    assert tables.posts.ids.tolist() == [-5, 3]
    first = int(datetime(2021, 12, 1, tzinfo=UTC).timestamp())
    assert tables.events.at_s.tolist() == [first, first, AS_OF_S - 1]
    assert tables.events.user.tolist() == [0, 0, 1]
    assert tables.events.post.tolist() == [0, 1, 0]
    assert [tables.actions[action] for action in tables.events.action] == ["view", "view", "like"]
    assert tables.quarantined == 0


def test_posts_exist_from_their_publication_or_first_touch(engine: Engine, tmp_path: Path) -> None:
    posts = pd.DataFrame(
        {
            "post_id": [1, 2, 3, 4, 5],
            "text": ["one", None, "three", "four", "five"],
            "topic": ["a", "b", None, "a", "a"],
            "published_at": pd.to_datetime(
                pd.Series(["2021-12-01", None, "2021-12-20 15:00", "2021-12-10", None]), format="ISO8601"
            ),
            "hidden": [False, True, False, False, False],
        }
    )
    write_rows(engine, SourceSchema(), "posts", posts)
    write_rows(
        engine,
        SourceSchema(),
        "events",
        events(("2021-12-05", 1, 4, "view"), ("2021-12-06", 1, 9, "view"), ("2021-12-07", 1, 5, "view")),
    )
    tables = read(engine, tmp_path).posts
    assert tables.ids.tolist() == [1, 2, 4, 5, 9]  # post 3 is published at the as-of time, so it is not there yet
    day = 86_400
    december = int(datetime(2021, 12, 1, tzinfo=UTC).timestamp())
    assert tables.born_s.tolist() == [december, -np.inf, december + 4 * day, -np.inf, december + 5 * day]
    assert tables.dated_s[[0, 2, 3, 4]].tolist() == [december + days * day for days in (0, 4, 6, 5)]
    assert np.isnan(tables.dated_s[1])
    assert tables.text.tolist() == ["one", "", "four", "five", ""]
    assert tables.topic.tolist() == ["a", "b", "a", "a", ""]
    assert tables.hidden.tolist() == [False, True, False, False, True]  # the table lacks post 9: it was deleted


def test_profiles_keep_numbers_and_texts_and_know_what_is_missing(engine: Engine, tmp_path: Path) -> None:
    users = pd.DataFrame({"user_id": [1, 2], "age": [30, None], "country": [None, "AT"], "score": [0.5, 1.5]})
    write_rows(engine, SourceSchema(), "users", users)
    write_rows(engine, SourceSchema(), "events", events(("2021-12-05", 3, 4, "view")))
    tables = read(engine, tmp_path)
    assert tables.users.ids.tolist() == [1, 2, 3]
    assert tables.users.profile["country"].tolist() == ["", "AT", ""]
    np.testing.assert_array_equal(tables.users.profile["age"], [30, np.nan, np.nan])
    np.testing.assert_array_equal(tables.users.profile["score"], [0.5, 1.5, np.nan])


def test_string_ids_sort_by_code_point_whatever_the_database_thinks(engine: Engine, tmp_path: Path) -> None:
    rows = events(*(("2021-12-05", user, "p,1 2", "view") for user in ("b", "A", "ä", "a b", "NA")))
    write_rows(engine, SourceSchema(), "events", rows)
    tables = read(engine, tmp_path)
    assert tables.users.ids.tolist() == ["A", "NA", "a b", "b", "ä"]
    assert tables.posts.ids.tolist() == ["p,1 2"]


def test_unusable_events_are_set_aside_with_the_reason(engine: Engine, tmp_path: Path) -> None:
    write_rows(
        engine, SourceSchema(), "events", events(*((f"2021-12-05 00:00:{s:02}", 1, s, "view") for s in range(8)))
    )
    execute(engine, "INSERT INTO feed_data VALUES ('2021-12-06 00:00:00', 1, 1, 'purchase')")
    if engine.dialect.name == "postgresql":
        execute(
            engine,
            "INSERT INTO feed_data VALUES ('infinity', 1, 1, 'view')",
            "ALTER TABLE feed_data ALTER COLUMN user_id DROP NOT NULL",
            "INSERT INTO feed_data VALUES ('2021-12-06 00:00:00', NULL, 1, 'view')",
        )
        reasons = ["broken time", "unknown action", "user_id is null"]
    else:
        execute(
            engine,
            "INSERT INTO feed_data VALUES ('the other day', 1, 1, 'view')",
            "INSERT INTO feed_data VALUES ('2021-12-06 00:00:00', 'somebody', 1, 'view')",
        )
        reasons = ["broken time", "broken time, or an id of the wrong type", "unknown action"]
    tables = read(engine, tmp_path)
    assert len(tables.events.at_s) == 8
    assert tables.quarantined == 3
    with (tmp_path / "quarantine" / "table feed_data.csv").open(newline="", encoding="utf-8") as lines:
        found = sorted(row["reason"] for row in csv.DictReader(lines))
    assert len(found) == 3
    for reason, expected in zip(found, reasons, strict=True):
        assert reason.startswith(expected)


def test_unusable_events_from_the_as_of_time_on_are_not_counted(engine: Engine, tmp_path: Path) -> None:
    write_rows(engine, SourceSchema(), "events", events(("2021-12-05", 1, 1, "view")))
    execute(engine, "INSERT INTO feed_data VALUES ('2021-12-20 15:00:00', 1, 1, 'purchase')")
    assert read(engine, tmp_path, share=0).quarantined == 0


def test_an_empty_text_is_no_id(engine: Engine, tmp_path: Path) -> None:
    rows = events(("2021-12-05", "u", "p", "view"), ("2021-12-06", "u", "", "view"), ("2021-12-07", "", "p", "view"))
    write_rows(engine, SourceSchema(), "events", rows)
    write_rows(engine, SourceSchema(), "posts", pd.DataFrame({"post_id": ["p", ""], "text": ["a post", "none"]}))
    tables = read(engine, tmp_path, share=1)
    assert (tables.users.ids.tolist(), tables.posts.ids.tolist(), tables.quarantined) == (["u"], ["p"], 2)
    with (tmp_path / "quarantine" / "table feed_data.csv").open(newline="", encoding="utf-8") as lines:
        assert sorted(row["reason"] for row in csv.DictReader(lines)) == ["post_id is empty", "user_id is empty"]


def test_of_several_rows_of_a_user_or_post_the_same_one_is_taken_in_any_order(engine: Engine, tmp_path: Path) -> None:
    people = ["(1, 'BR', 3)", "(1, 'AT', NULL)", "(2, 'CH', 5)"]
    articles = ["(7, NULL)", "(7, 'tech')", "(7, 'sport')"]
    found = []
    for step in (1, -1):
        execute(
            engine,
            "DROP TABLE IF EXISTS user_data",
            "DROP TABLE IF EXISTS post_text_df",
            "CREATE TABLE user_data (user_id bigint, country text, age int)",
            f"INSERT INTO user_data VALUES {', '.join(people[::step])}",
            "CREATE TABLE post_text_df (post_id bigint, topic text)",
            f"INSERT INTO post_text_df VALUES {', '.join(articles[::step])}",
        )
        write_rows(engine, SourceSchema(), "events", events(("2021-12-05", 1, 7, "view")))
        tables = read(engine, tmp_path)
        age = np.nan_to_num(tables.users.profile["age"].astype(float), nan=-1).tolist()
        found.append((tables.users.profile["country"].tolist(), age, tables.posts.topic.tolist()))
    assert found[0] == found[1]
    assert found[0][0][0] + str(found[0][1][0]) in {"BR3.0", "AT-1.0"}  # a row that there is, not a mixture


def test_numbers_of_a_profile_fit_the_matrix_of_the_ranker(engine: Engine, tmp_path: Path) -> None:
    score = [1e300, -1e300, np.inf, 0.1]
    write_rows(engine, SourceSchema(), "users", pd.DataFrame({"user_id": [1, 2, 3, 4], "score": score}))
    write_rows(engine, SourceSchema(), "events", events(("2021-12-05", 1, 7, "view")))
    found = read(engine, tmp_path).users.profile["score"].astype(float)
    assert np.isfinite(found.astype(np.float32)).tolist() == [True, True, False, True]
    assert np.isnan(found[2])
    assert found[3] == 0.1


def test_ids_are_read_out_of_a_postgres_of_another_encoding(postgres_url: str, tmp_path: Path) -> None:
    server = open_engine(postgres_url, tmp_path).execution_options(isolation_level="AUTOCOMMIT")
    execute(server, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        engine = open_engine(server.url.set(database="latin").render_as_string(hide_password=False), tmp_path)
        write_rows(engine, SourceSchema(), "events", events(("2021-12-05", "Jürgen", "p", "view")))
        assert read(engine, tmp_path).users.ids.tolist() == ["Jürgen"]
    finally:
        execute(server, "DROP DATABASE latin")
        server.dispose()


def test_too_many_unusable_events_stop_the_run(engine: Engine, tmp_path: Path) -> None:
    write_rows(engine, SourceSchema(), "events", events(("2021-12-05", 1, 1, "view")))
    execute(engine, "INSERT INTO feed_data VALUES ('2021-12-06 00:00:00', 1, 1, 'purchase')")
    with pytest.raises(BatchError, match=r"1 of 2 events cannot be used.*max_quarantined_share = 0.4"):
        read(engine, tmp_path, share=0.4)


def test_without_an_event_table_the_error_says_what_to_do(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"no table feed_data.*hourfeed load.*hourfeed.toml"):
        read(engine, tmp_path)


def test_an_empty_log_has_no_events_but_keeps_users_and_posts(engine: Engine, tmp_path: Path) -> None:
    write_rows(engine, SourceSchema(), "events", events(("2021-12-25", 1, 1, "view")))
    write_rows(engine, SourceSchema(), "users", pd.DataFrame({"user_id": [4]}))
    write_rows(engine, SourceSchema(), "posts", pd.DataFrame({"post_id": [6], "text": ["six"]}))
    tables = read(engine, tmp_path)
    assert len(tables.events.at_s) == 0
    assert (tables.users.ids.tolist(), tables.posts.ids.tolist()) == ([4], [6])


def test_renamed_tables_with_uuids_and_time_zones_are_read(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)
    user = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
    execute(
        engine,
        "CREATE SCHEMA social",
        'CREATE TABLE social.people ("Id" uuid PRIMARY KEY, plan text, joined timestamptz)',
        "CREATE TABLE social.articles (article uuid, body text, live_from timestamptz)",
        "CREATE TABLE social.clicks (happened timestamptz, who uuid, what uuid, kind varchar(10))",
        f"INSERT INTO social.people VALUES ('{user}', 'free', now())",
        f"INSERT INTO social.articles VALUES ('{user}', 'hello', '2021-12-20 14:00+02')",
        f"INSERT INTO social.clicks VALUES ('2021-12-20 16:30+02', '{user}', '{user}', 'view')",
    )
    schema = SourceSchema(
        users=UserNames(table="social.people", user_id="Id"),
        posts=PostNames(table="social.articles", post_id="article", text="body", published_at="live_from"),
        events=EventNames(table="social.clicks", timestamp="happened", user_id="who", post_id="what", action="kind"),
    )
    tables = read(engine, tmp_path, schema)
    assert tables.users.ids.tolist() == [user]
    assert tables.users.profile["plan"].tolist() == ["free"]
    assert tables.posts.text.tolist() == ["hello"]
    assert tables.posts.dated_s.tolist() == [AS_OF_S - 3 * 3600]
    assert tables.events.at_s.tolist() == [AS_OF_S - 1800]


def with_targets(*targets: tuple[str, object]) -> pd.DataFrame:
    """Return events of the actions and targets given, one an hour, and the future's, which are all told apart."""
    rows = [(f"2021-12-19 {hour:02}:00:00", 1, hour, action) for hour, (action, _) in enumerate(targets)]
    later = [("2021-12-20 15:00:00", 1, 50, "view"), ("2021-12-20 16:00:00", 1, 51, "view")]
    given: list[Any] = [target for _, target in targets]
    return events(*rows, *later).assign(target=pd.array([*given, 0, 1], dtype="Int64"))


@pytest.mark.parametrize(
    ("targets", "relevance"),
    [
        ([("view", 0), ("view", 1), ("like", 0)], [0, 2]),  # as in the course's log: the like has a row of its own
        ([("view", 0), ("view", 0), ("like", 0)], [1, 2]),  # the target says nothing of the past
        ([("view", 0), ("view", None), ("like", None)], [1, 2]),
        ([("view", 0), ("view", 1)], [1, 2]),  # nothing else could be the response
    ],
)
def test_a_view_whose_target_is_0_or_1_says_only_that_a_post_was_shown(
    engine: Engine, tmp_path: Path, targets: list[tuple[str, object]], relevance: list[int]
) -> None:
    write_rows(engine, SourceSchema(), "events", with_targets(*targets))
    tables = read(engine, tmp_path)
    assert tables.relevance.tolist() == relevance
    assert [note.split()[0] for note in tables.notes] == (["view"] if relevance[0] == 0 else [])


@pytest.mark.parametrize(("shown", "relevance"), [((), [1, 2]), (("view", "like"), [0, 0])])
def test_which_actions_mean_shown_can_be_set(
    engine: Engine, tmp_path: Path, shown: tuple[str, ...], relevance: list[int]
) -> None:
    write_rows(engine, SourceSchema(), "events", with_targets(("view", 0), ("view", 1), ("like", 0)))
    options = ReadOptions(LogOptions(tmp_path / "log", ACTIONS, 0), 0.5, tmp_path / "quarantine", shown)
    tables = read_tables(engine, SourceSchema(), AS_OF, options, lambda _rows: None)
    engine.dispose()
    assert tables.relevance.tolist() == relevance
    assert not tables.notes
