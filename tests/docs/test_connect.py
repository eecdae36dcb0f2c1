"""Does what docs/connect.md says: other names, UUIDs, a role that may only read."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import psycopg2
import pytest
from fences import ROOT, golden
from redis import Redis
from sqlalchemy import make_url

from batch.event_log.log import LogOptions
from batch.read import ReadOptions, read_tables
from batch.tables import Tables
from slates.generations import live_generation
from slates.keys import Keys
from source.engine import open_engine
from source.schema import EventNames, SourceSchema, UserNames

PAGE = ROOT / "docs/connect.md"
ANN, BEN, CAT = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3))
OLD, NEW, DOWN, LATER, OWN = (f"10000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3, 4, 5))
AS_OF = "2024-05-01T12:00:00Z"

MEMBERS = [
    (ANN, "NL", 1990, True, "4.50", "2024-01-01"),
    (BEN, "DE", 1985, None, "3.25", None),
    (CAT, "NL", None, False, None, None),
]
ARTICLES = [
    (OLD, "An old story", "news", None, None, None),
    (NEW, "A new story", "news", BEN, "2024-05-01T09:00:00+02:00", False),
    (DOWN, "Taken down", "news", None, "2024-04-01T00:00:00Z", True),
    (LATER, "Not online yet", "sport", None, "2024-05-01T12:00:00Z", False),
    (OWN, "By Ann herself", "sport", ANN, "2024-04-30T00:00:00Z", False),
]
ACTIVITY = [
    ("2024-05-01T10:00:00Z", ANN, OLD, "seen"),
    ("2024-05-01T13:30:00+02:00", BEN, OLD, "liked"),  # 11:30 UTC
    ("2024-05-01T11:40:00Z", BEN, NEW, "seen"),
    ("2024-05-01T11:50:00Z", BEN, NEW, "muted"),
    ("2024-05-01T12:00:00Z", CAT, OWN, "liked"),  # at the as-of time: too late
    ("2024-05-01T11:45:00Z", CAT, DOWN, "seen"),
]
IN_UTC = """
CREATE VIEW app.in_utc AS SELECT at AT TIME ZONE 'UTC' AS at, member, article, deed FROM app.activity;
GRANT SELECT ON app.in_utc TO hourfeed;
"""
"""The same moments, in a column without a time zone."""


def execute(url: str, statements: str, rows: list[tuple[Any, ...]] | None = None) -> None:
    """Run statements in a transaction of their own, once or for each row."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        if rows is None:
            cursor.execute(statements)
        else:
            cursor.executemany(statements, rows)


@pytest.fixture
def reader_url(postgres_url: str) -> Iterator[str]:
    """URL of a database with the page's tables, filled, for the page's role."""
    owner_url = postgres_url.replace("+psycopg2", "")
    execute(owner_url, golden(PAGE, "tables"))
    execute(owner_url, "INSERT INTO app.member VALUES (%s, %s, %s, %s, %s, %s)", MEMBERS)
    execute(owner_url, "INSERT INTO app.article VALUES (%s, %s, %s, %s, %s, %s)", ARTICLES)
    execute(owner_url, "INSERT INTO app.activity VALUES (%s, %s, %s, %s)", ACTIVITY)
    execute(owner_url, golden(PAGE, "role"))
    execute(owner_url, golden(PAGE, "view"))
    execute(owner_url, IN_UTC)
    url = make_url(owner_url).set(username="hourfeed", password="change-me")
    yield url.render_as_string(hide_password=False)
    execute(owner_url, "DROP OWNED BY hourfeed; DROP ROLE hourfeed")


def hourfeed(folder: Path, urls: dict[str, str], *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder that holds the page's hourfeed.toml."""
    (folder / "hourfeed.toml").write_text(golden(PAGE, "hourfeed.toml"), encoding="utf-8")
    program = str(Path(sys.executable).with_name("hourfeed"))
    environment = {**os.environ, **urls, **more}
    return subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_database_with_names_and_ids_of_its_own_is_read_by_a_role_that_may_only_select(
    reader_url: str, redis_url: str, redis_client: Redis, tmp_path: Path
) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(reader_url, "SET default_transaction_read_only = off; COMMIT; DELETE FROM app.activity")
    urls = {"DATABASE_URL": reader_url, "REDIS_URL": redis_url}

    # Four events can be used (one of the six comes too late), and the muted one cannot.
    stopped = hourfeed(tmp_path, urls, "batch", "--as-of", AS_OF, "--hours", "2")
    assert stopped.returncode == 1, stopped.stderr
    assert "1 of 5 events cannot be used, more than max_quarantined_share = 0.05 allows" in stopped.stderr
    aside = (tmp_path / ".hourfeed/quarantine/table app.activity.csv").read_text()
    assert 'unknown action; known are seen, liked","2024-05-01' in aside
    assert aside.count("\n") == 2  # the header and the muted one
    assert live_generation(redis_client, Keys()) is None

    view = {"HOURFEED_SOURCE__EVENTS__TABLE": "app.wanted_activity"}
    done = hourfeed(tmp_path, urls, "batch", "--as-of", AS_OF, "--hours", "2", **view)
    assert done.returncode == 0, done.stderr
    live = live_generation(redis_client, Keys())
    assert live is not None
    assert (live.users, live.posts, live.quarantined) == (3, 3, 0)
    assert (live.user_id_type, live.post_id_type) == ("uuid", "uuid")
    assert live.ranker == "popular_24h"  # the log is too short to train on

    def slate(user: str) -> list[str]:
        return cast("bytes", redis_client.hget(Keys().user(live.id, user), "2024050113")).decode().split()

    # OLD has two events, NEW one, OWN none in time. DOWN is hidden, LATER is not online.
    assert slate(ANN) == [OLD, NEW]  # not her own; what she has only seen may come again
    assert slate(BEN) == [OWN]  # he liked OLD and wrote NEW
    assert slate(CAT) == [OLD, NEW, OWN]
    acted = [redis_client.hget(Keys().user(live.id, user), "acted") for user in (ANN, BEN, CAT)]
    assert acted == [OWN.encode(), f"{OLD} {NEW}".encode(), None]  # of the shared slates: written, liked, neither
    assert cast("bytes", redis_client.hget(Keys().user(live.id, ANN), "segment")).decode().startswith("country=NL")
    assert redis_client.hgetall(Keys().post(NEW)) == {b"text": b"A new story", b"topic": b"news"}

    shown = hourfeed(tmp_path, urls, "show", "user", CAT, "--at", "2024-05-01T13:30")
    assert shown.returncode == 0, shown.stderr
    assert [line.split()[1] for line in shown.stdout.splitlines()[-3:]] == [OLD, NEW, OWN]


def read(url: str, table: str, actions: dict[str, int], folder: Path) -> Tables:
    schema = SourceSchema(
        users=UserNames(table="app.member", user_id="uid"),
        events=EventNames(table=table, timestamp="at", user_id="member", post_id="article", action="deed"),
    )
    engine = open_engine(url, folder)
    try:
        as_of = datetime(2024, 5, 1, 12, tzinfo=UTC)
        return read_tables(
            engine, schema, as_of, ReadOptions(LogOptions(folder / "log", actions, 0), 1.0, folder), lambda rows: None
        )
    finally:
        engine.dispose()


def test_profile_columns_are_features_by_their_type(reader_url: str, tmp_path: Path) -> None:
    users = read(reader_url, "app.activity", {"seen": 1, "liked": 3}, tmp_path).users
    assert list(users.ids) == [ANN, BEN, CAT]
    assert list(users.profile) == ["country", "birth_year", "premium", "rating"]  # joined_at, a time, is passed over
    assert list(users.profile["country"]) == ["NL", "DE", "NL"]
    nan = float("nan")
    np.testing.assert_array_equal(users.profile["birth_year"], [1990, 1985, nan])
    np.testing.assert_array_equal(users.profile["premium"], [1, nan, 0])
    np.testing.assert_array_equal(users.profile["rating"], [4.5, 3.25, nan])


@pytest.mark.parametrize("table", ["app.activity", "app.in_utc"])
def test_times_with_a_zone_and_times_in_utc_are_the_same_moments(reader_url: str, tmp_path: Path, table: str) -> None:
    tables = read(reader_url, table, {"seen": 1, "liked": 3}, tmp_path)
    assert list(tables.events.at_s - tables.as_of_s) == [-7200, -1800, -1200, -900]  # 10:00, 11:30, 11:40, 11:45


def test_a_known_kind_need_not_be_a_value_of_the_enum(reader_url: str, tmp_path: Path) -> None:
    tables = read(reader_url, "app.activity", {"seen": 1, "liked": 3, "shared": 2}, tmp_path)
    assert (len(tables.events.at_s), tables.quarantined) == (4, 1)


@pytest.mark.parametrize(
    ("variable", "value", "begin"),
    [
        ("EVENTS__ACTION", "verb", "the table app.activity has no column verb; it has at, member, article, deed. "),
        ("POSTS__HIDDEN", "taken_dwn", "the table app.article has no column taken_dwn; it has article_id, body, "),
        (
            "USERS__TABLE",
            "app.membr",
            "there is no table app.membr; app has activity, article, in_utc, member, wanted_",
        ),
    ],
)
def test_a_name_that_is_not_there_stops_the_run_in_one_line(
    reader_url: str, redis_url: str, tmp_path: Path, variable: str, value: str, begin: str
) -> None:
    urls = {"DATABASE_URL": reader_url, "REDIS_URL": redis_url}
    stopped = hourfeed(tmp_path, urls, "batch", "--as-of", AS_OF, **{f"HOURFEED_SOURCE__{variable}": value})
    assert stopped.returncode == 1
    assert stopped.stderr.startswith(f"error: {begin}")
    assert stopped.stderr.count("\n") == 1


def test_ids_that_do_not_join_are_a_note_of_the_run(reader_url: str, redis_url: str, tmp_path: Path) -> None:
    urls = {"DATABASE_URL": reader_url, "REDIS_URL": redis_url}
    swapped = {"EVENTS__TABLE": "app.wanted_activity", "EVENTS__USER_ID": "article", "EVENTS__POST_ID": "member"}
    names = {f"HOURFEED_SOURCE__{name}": value for name, value in swapped.items()}
    run = hourfeed(tmp_path, urls, "batch", "--as-of", AS_OF, **names)
    notes = [line for line in run.stderr.splitlines() if line.startswith("note: only")]
    # Before the as-of time Ann, Ben and Cat have touched OLD, NEW and DOWN.
    assert notes == [
        "note: only 0 of 3 users of the log are in app.member; are the ids of one kind?",
        (
            "note: only 0 of 3 posts of the log are in app.article; the others count as deleted and are not shown; "
            "are the ids of one kind?"
        ),
    ]
