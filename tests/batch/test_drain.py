import csv
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from batch.drain import Drain
from slates.event import Event
from slates.event_stream import add_events, count_waiting
from slates.keys import Keys
from source.drained import DrainTarget
from source.engine import open_engine
from source.errors import SourceError
from source.schema import SourceSchema

KEYS = Keys()
AT = datetime(2021, 12, 20, 15, tzinfo=UTC)
WITHIN_S = 20


@pytest.fixture
def engine(sqlite_url: str, tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(sqlite_url, tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def drain(redis_client: Redis, engine: Engine, tmp_path: Path) -> Drain:
    return Drain(redis_client, KEYS, DrainTarget(engine, SourceSchema()), tmp_path / "quarantine")


def make_table(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE feed_data (timestamp timestamp, user_id bigint, post_id bigint, action text)")
        )


def post(redis: Redis, *events: tuple[str, str]) -> None:
    add_events(redis, KEYS, [Event(event_id, user_id, "1", "like", AT) for event_id, user_id in events], 5_000)


def users_in(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return [user_id for (user_id,) in connection.execute(text("SELECT user_id FROM feed_data ORDER BY user_id"))]


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_waits_goes_into_the_database_and_off_the_stream(
    drain: Drain, redis_client: Redis, engine: Engine
) -> None:
    make_table(engine)
    post(redis_client, *((f"e{number}", str(number)) for number in range(1_001)))
    assert drain.run_once() == 1_001
    assert users_in(engine) == list(range(1_001))
    assert (count_waiting(redis_client, KEYS), drain.run_once()) == (0, 0)


def test_a_drain_that_died_before_it_took_the_events_off_leaves_nothing_to_double(
    drain: Drain, redis_client: Redis, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_table(engine)
    post(redis_client, ("a", "1"), ("b", "2"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("batch.drain.settle_events", die)
        with pytest.raises(KeyboardInterrupt):
            drain.step(None)
    assert count_waiting(redis_client, KEYS) == 2
    assert drain.run_once() == 2
    assert users_in(engine) == [1, 2]


def test_what_cannot_be_used_is_set_aside(drain: Drain, redis_client: Redis, engine: Engine, tmp_path: Path) -> None:
    make_table(engine)
    post(redis_client, ("a", "anna"), ("b", "2"))
    redis_client.xadd(KEYS.events, {"user": "7"})
    drain.run_once()
    post(redis_client, ("c", "carl"))
    drain.run_once()
    assert (users_in(engine), count_waiting(redis_client, KEYS)) == ([2], 0)
    with (tmp_path / "quarantine/posted events.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows] == ["no event", *["user_id is not a whole number of 64 bits"] * 2]
    assert rows[2]["row"] == "c,carl,1,like,2021-12-20 15:00:00+00:00"


def test_events_wait_for_a_database_that_is_not_ready(
    drain: Drain, redis_client: Redis, engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.drain.AGAIN_AFTER_S", 0.01)
    post(redis_client, ("a", "1"))
    with pytest.raises(SourceError, match="no table feed_data"):
        drain.run_once()
    with caplog.at_level(logging.WARNING), drain.in_background():
        wait_until(lambda: "events stay on the stream" in caplog.text)
        assert count_waiting(redis_client, KEYS) == 1
        make_table(engine)
        wait_until(lambda: count_waiting(redis_client, KEYS) == 0)
        post(redis_client, ("b", "2"))
        wait_until(lambda: count_waiting(redis_client, KEYS) == 0)
    assert "drain" not in {thread.name for thread in threading.enumerate()}
    assert users_in(engine) == [1, 2]
    assert caplog.text.count("events stay on the stream") == 1
    assert "events are drained again" in caplog.text
