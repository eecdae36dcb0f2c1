"""A small network in a database, batches on it in this process, and a server to ask."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import text

from batch.settings import BatchSettings
from cli.batch import publish_once
from server.app import create_app
from server.settings import ServerSettings
from slates.manifest import Manifest
from source.engine import open_engine

AS_OF = datetime(2021, 12, 20, 16, tzinfo=UTC)
USERS, POSTS = range(200, 220), range(1, 13)
TOP_N, HOURS = 5, 3
FEED = "/post/recommendations/?id=203&time=2021-12-20T16:30&limit=3"
EXACT = "exact"


def fill(database_url: str, folder: Path) -> str:
    """Make the three tables; return the URL."""
    rows = [
        {
            "at": f"2021-12-20 {10 + turn % 5}:{turn % 60:02}:00",
            "user": USERS[turn * 7 % 20],
            "post": POSTS[turn * 5 % 12],
        }
        for turn in range(120)
    ]
    posts = [{"id": post, "text": f"text of {post}"} for post in POSTS]
    with statements(database_url, folder) as run:
        run("CREATE TABLE user_data (user_id bigint PRIMARY KEY, age int)")
        run("CREATE TABLE post_text_df (post_id bigint PRIMARY KEY, text text, topic text)")
        run("CREATE TABLE feed_data (timestamp timestamp, user_id bigint, post_id bigint, action text)")
        run("INSERT INTO user_data VALUES (:id, 30)", [{"id": user} for user in USERS])
        run("INSERT INTO post_text_df VALUES (:id, :text, 'news')", posts)
        run("INSERT INTO feed_data VALUES (CAST(:at AS timestamp), :user, :post, 'view')", rows)
    return database_url


@contextlib.contextmanager
def statements(database_url: str, folder: Path) -> Iterator[Callable[..., Any]]:
    """Give what carries out SQL in one transaction."""
    engine = open_engine(database_url, folder)
    try:
        with engine.begin() as connection:
            yield lambda statement, rows=None: connection.execute(text(statement), rows)
    finally:
        engine.dispose()


def settings_of(database_url: str, redis_url: str, state: Path, **more: Any) -> BatchSettings:
    small: dict[str, Any] = {"ranker": "popular_24h", "hours": HOURS, "top_n": TOP_N, "text_encoder": "none"}
    return BatchSettings(database_url=database_url, redis_url=redis_url, state=state, **{**small, **more})


def publish(settings: BatchSettings, *, full_refresh: bool = False) -> Manifest:
    return publish_once(settings, AS_OF, force=True, full_refresh=full_refresh)


def ask_of(redis_url: str, **settings: Any) -> FlaskClient:
    """Return a client of a server that asks Redis there."""
    return create_app(ServerSettings(redis_url=redis_url, **{"redis_timeout_s": 0.3, **settings})).test_client()


def feed(server: FlaskClient) -> tuple[str, str, list[int]]:
    """Return rung, generation and posts of one user's feed; a test fails where there is none."""
    answer: Any = server.get(FEED)
    assert answer.status_code == 200, answer.text
    posts = [post["id"] for post in answer.json]
    assert len(posts) == 3
    return answer.headers["X-Hourfeed-Rung"], answer.headers["X-Hourfeed-Generation"], posts


def rung(server: FlaskClient) -> str:
    return feed(server)[0]


def await_rung(server: FlaskClient, wanted: str, within_s: float = 15) -> None:
    """Return once a feed is of that rung; until then every one must be whole, as `feed` has it."""
    deadline = time.monotonic() + within_s
    while rung(server) != wanted:
        assert time.monotonic() < deadline, f"no feed of the rung {wanted}"
        time.sleep(0.02)
