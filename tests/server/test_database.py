"""The routes that read the database, on SQLite and on a real Postgres."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeRedis
from flask.testing import FlaskClient
from published import Generation
from sqlalchemy import Engine, text

from server.app import create_app
from server.settings import ServerSettings
from slates.blocked import block
from slates.keys import Keys
from source.engine import open_engine
from source.errors import SourceError
from source.reader import open_reader
from source.schema import EventNames, PostNames, SourceSchema, UserNames

TABLES = """
CREATE TABLE user_data (user_id INTEGER PRIMARY KEY, gender INTEGER, city TEXT, joined TIMESTAMP, score NUMERIC);
CREATE TABLE post_text_df (post_id INTEGER PRIMARY KEY, text TEXT, topic TEXT, extra TEXT);
CREATE TABLE feed_data (timestamp TIMESTAMP, user_id INTEGER, post_id INTEGER, action TEXT, target INTEGER);
INSERT INTO user_data VALUES (7, 1, 'Riga', '2021-01-02 03:04:05', 1.5), (-8, 0, NULL, NULL, NULL);
INSERT INTO post_text_df VALUES (1, 'one', 'sport', 'x'), (2, NULL, 'tech', 'x'), (3, 'three', NULL, 'x');
INSERT INTO feed_data VALUES
 ('2021-12-20 10:00:00', 7, 1, 'view', 1), ('2021-12-20 10:00:30', 7, 1, 'like', 0),
 ('2021-12-20 11:00:00', 7, 2, 'view', 0), ('2021-12-20 12:00:00', -8, 1, 'like', 0),
 ('2021-12-20 12:00:00', -8, 3, 'like', 0), ('2021-12-20 13:00:00', 99, 4, 'like', 0),
 ('2021-12-20 14:00:00', 98, 4, 'like', 0), ('2021-12-20 15:00:00', 97, 4, 'like', 0);
"""
USER = {"id": 7, "gender": 1, "city": "Riga", "joined": "2021-01-02T03:04:05Z", "score": 1.5}
ONE = {"id": 1, "text": "one", "topic": "sport"}


def run(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(text(statement))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, Path())
    yield engine
    engine.dispose()


@pytest.fixture
def redis() -> FakeRedis:
    redis = FakeRedis()
    Generation(users={"7": {12: "1"}}, popular={12: "1"}).publish(redis)
    return redis


@pytest.fixture
def ask(database_url: str, engine: Engine, redis: FakeRedis) -> Callable[..., tuple[int, Any]]:
    """Return what asks the server for a path."""
    run(engine, TABLES)
    client = create_app(ServerSettings(database_url=database_url), redis).test_client()

    def get(path: str) -> tuple[int, Any]:
        answer = client.get(path)
        return answer.status_code, answer.json

    return get


def test_a_user_is_answered_with_every_column_of_the_profile(ask: Callable[..., Any]) -> None:
    assert ask("/user/7") == (200, USER)
    assert ask("/user/-8") == (200, {"id": -8, "gender": 0, "city": None, "joined": None, "score": None})


def test_a_post_is_answered_with_id_text_and_topic(ask: Callable[..., Any]) -> None:
    assert ask("/post/1") == (200, ONE)
    assert ask("/post/+2")[1] == {"id": 2, "text": "", "topic": "tech"}


@pytest.mark.parametrize("path", ["/user/8", "/post/99", "/user/9223372036854775807"])
def test_what_is_not_there_is_404(ask: Callable[..., Any], path: str) -> None:
    status, body = ask(path)
    assert (status, body["error"]["reason"]) == (404, f"there is no {path[1:5]} {path[6:]}")


@pytest.mark.parametrize(
    "path", ["/user/x", "/post/1.5", "/user/9223372036854775808", "/user/x/feed", "/user/7/feed?limit=0"]
)
def test_what_is_no_id_or_limit_is_422(ask: Callable[..., Any], path: str) -> None:
    status, body = ask(path)
    assert (status, body["error"].keys()) == (422, {"field", "value", "allowed"})


def test_events_of_a_user_come_newest_first_with_user_and_post(ask: Callable[..., Any]) -> None:
    status, events = ask("/user/7/feed?limit=2")
    assert status == 200
    assert events == [
        {
            "user_id": 7,
            "post_id": 2,
            "action": "view",
            "time": "2021-12-20T11:00:00Z",
            "user": USER,
            "post": {"id": 2, "text": "", "topic": "tech"},
        },
        {"user_id": 7, "post_id": 1, "action": "like", "time": "2021-12-20T10:00:30Z", "user": USER, "post": ONE},
    ]
    assert len(ask("/user/7/feed")[1]) == 3


def test_events_of_a_post_may_be_of_users_without_a_profile(ask: Callable[..., Any]) -> None:
    assert [(event["user_id"], event["user"], event["post"]) for event in ask("/post/4/feed?limit=1")[1]] == [
        (97, None, None)
    ]
    assert ask("/post/77/feed") == ask("/user/77/feed") == (200, [])


def test_without_an_id_the_posts_with_most_likes_are_answered(ask: Callable[..., Any], redis: FakeRedis) -> None:
    # By hand: 4 has three likes and no row of its own, 1 has two, 3 has one.
    assert ask("/post/recommendations/") == (200, [ONE, {"id": 3, "text": "three", "topic": ""}])
    assert ask("/post/recommendations/?limit=1") == (200, [ONE])
    block(redis, Keys(), ["1"])
    assert [post["id"] for post in ask("/post/recommendations/")[1]] == [3]
    assert ask("/post/recommendations/?id=")[0] == 422


def test_likes_are_counted_once_a_minute(ask: Callable[..., Any], engine: Engine) -> None:
    ask("/post/recommendations/")
    run(engine, "DELETE FROM feed_data")
    assert len(ask("/post/recommendations/")[1]) == 2


def test_a_reader_cannot_write(database_url: str, engine: Engine) -> None:
    run(engine, TABLES)
    reader = open_reader(database_url, SourceSchema(), timeout_s=5, connections=1)
    with pytest.raises(SourceError, match=r"read-?only"), reader._connection() as connection:
        connection.execute(text("DELETE FROM feed_data"))
    assert len(reader.events("user_id", "7", 9) or ()) == 3


def test_what_takes_too_long_is_ended_and_503(database_url: str, engine: Engine, redis: FakeRedis) -> None:
    run(engine, TABLES)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000)"
    run(engine, "ALTER TABLE post_text_df RENAME TO posts_there")
    run(
        engine,
        f"CREATE VIEW post_text_df AS {endless} SELECT count(*) AS post_id, 'x' AS text, 'y' AS topic FROM n",
    )
    settings = ServerSettings(database_url=database_url, database_timeout_s=0.3)
    answer = create_app(settings, redis).test_client().get("/post/1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json == {"error": {"reason": "the database took longer than 0.3 s (database_timeout_s)"}}


def test_own_names_and_text_ids(database_url: str, engine: Engine) -> None:
    run(engine, "CREATE TABLE member (ref TEXT PRIMARY KEY, plan TEXT); INSERT INTO member VALUES ('eu/anna k', 'pro')")
    run(
        engine, "CREATE TABLE article (slug TEXT PRIMARY KEY, body TEXT); INSERT INTO article VALUES ('a', 'text of a')"
    )
    run(engine, "CREATE TABLE act (at TIMESTAMP, who TEXT, what TEXT, kind TEXT)")
    run(engine, "INSERT INTO act VALUES ('2021-12-20 10:00:00', 'eu/anna k', 'a', 'like')")
    names = SourceSchema(
        users=UserNames(table="member", user_id="ref"),
        posts=PostNames(table="article", post_id="slug", text="body"),
        events=EventNames(table="act", timestamp="at", user_id="who", post_id="what", action="kind"),
    )
    client = create_app(ServerSettings(database_url=database_url, source=names), FakeRedis()).test_client()
    anna = {"id": "eu/anna k", "plan": "pro"}
    assert client.get("/user/eu%2Fanna%20k").json == anna
    events = client.get("/user/eu%2Fanna%20k/feed").json or []
    assert [(event["user"], event["post"]) for event in events] == [
        (anna, {"id": "a", "text": "text of a", "topic": ""})
    ]
    assert client.get("/user/%00").status_code == 404


def test_uuids_are_found_however_they_are_written(postgres_url: str) -> None:
    engine = open_engine(postgres_url, Path())
    run(engine, "CREATE TABLE user_data (user_id UUID PRIMARY KEY, age INT)")
    run(engine, "INSERT INTO user_data VALUES ('0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11', 30)")
    engine.dispose()
    reader = open_reader(postgres_url, SourceSchema(), timeout_s=5, connections=1)
    expected = {"id": "0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11", "age": 30}
    assert reader.user("0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11") == expected
    assert reader.user("0B6F8A3E6D0F4C399B1F5F5D0D6F2A11") == expected
    assert reader.user("nobody") is None


def test_tables_that_are_not_there_yet_are_404_and_found_later(database_url: str, engine: Engine) -> None:
    client = create_app(ServerSettings(database_url=database_url), FakeRedis()).test_client()
    paths = ("/user/7", "/user/7/feed", "/post/recommendations/")
    assert [client.get(path).status_code for path in paths] == [404, 404, 404]
    run(engine, TABLES)
    assert client.get("/user/7").json == USER


@pytest.fixture
def unconnected() -> FlaskClient:
    return create_app(ServerSettings(), FakeRedis()).test_client()


@pytest.mark.parametrize("path", ["/user/7", "/post/1", "/user/7/feed", "/post/1/feed"])
def test_without_a_database_they_are_404_and_say_what_to_set(unconnected: FlaskClient, path: str) -> None:
    answer = unconnected.get(path)
    assert answer.status_code == 404
    assert answer.json is not None
    assert "DATABASE_URL" in answer.json["error"]["reason"]


def test_a_database_that_cannot_be_reached_is_503_and_its_password_stays_away(caplog: pytest.LogCaptureFixture) -> None:
    settings = ServerSettings(database_url="postgresql://anna:secret-word@127.0.0.1:1/x")
    answer = create_app(settings, FakeRedis()).test_client().get("/user/7")
    assert answer.status_code == 503
    assert answer.json == {"error": {"reason": "the database cannot answer; the server's log says why"}}
    assert "127.0.0.1" in caplog.text
    assert "secret-word" not in caplog.text + answer.text


def test_a_server_with_a_database_loads_no_frames_and_connects_at_the_first_request() -> None:
    program = (
        "import sys, server.app, server.settings as s\n"
        "server.app.create_app(s.ServerSettings(database_url='postgresql://127.0.0.1:1/x'))\n"
        "print(*sorted({'pandas', 'numpy', 'pyarrow', 'lightgbm'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "\n"
