from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from published import Generation, put_posts
from redis import Redis
from sqlalchemy import text

from batch.drain import Drain
from server.app import EXPOSURES, create_app
from server.settings import ServerSettings
from slates.event_stream import count_waiting
from slates.experiment import Experiment, keys_of_arm, start_experiment, stop_experiment
from slates.keys import Keys
from source.drained import DrainTarget
from source.engine import open_engine
from source.schema import SourceSchema

KEYS = Keys()
HALVES = Experiment("fresher", "salt", {"control": 0.5, "test": 0.5}, datetime(2021, 12, 20, tzinfo=UTC))
USERS = [str(number) for number in range(20)]
QUERY = {"time": "2021-12-20T12", "limit": "2"}


@pytest.fixture
def app(redis_client: Redis) -> Iterator[Flask]:
    put_posts(redis_client, "1234")
    for keys, slate, name in ((KEYS, "1 2", "c"), (keys_of_arm(KEYS, "test"), "3 4", "t")):
        users = {user: {12: slate} for user in USERS}
        Generation(id=name, users=users, popular={12: slate}).publish(redis_client, keys)
    app = create_app(ServerSettings(), redis_client)
    yield app
    app.extensions[EXPOSURES].flush()  # so that its thread has nothing to write into the next test


def test_while_an_experiment_runs_the_answer_names_the_group(app: Flask, redis_client: Redis) -> None:
    client = app.test_client()
    start_experiment(redis_client, KEYS, HALVES)
    for user in USERS:
        answer = client.get("/post/recommendations/", query_string={"id": user, **QUERY}).json
        assert answer is not None
        assert answer["exp_group"] == HALVES.arm_of(user)
        expected = [3, 4] if answer["exp_group"] == "test" else [1, 2]
        assert [post["id"] for post in answer["recommendations"]] == expected
        feed = client.get(f"/v1/users/{user}/feed?at=2021-12-20T12").json
        assert feed is not None
        assert feed["meta"]["arm"] == answer["exp_group"]
    stop_experiment(redis_client, KEYS)
    answer = client.get("/post/recommendations/", query_string={"id": "7", **QUERY}).json
    assert [post["id"] for post in answer or ()] == [1, 2]


def test_what_was_shown_is_drained_into_a_table_of_its_own_once(
    app: Flask, redis_client: Redis, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, engine = app.test_client(), open_engine(database_url, tmp_path)
    client.get("/post/recommendations/", query_string={"id": "7", **QUERY})  # before it: no exposure
    start_experiment(redis_client, KEYS, HALVES)
    for user in USERS:
        client.get("/post/recommendations/", query_string={"id": user, **QUERY})
    app.extensions[EXPOSURES].flush()
    assert redis_client.xlen(KEYS.exposures) == 20
    drain = Drain(redis_client, KEYS, DrainTarget(engine, SourceSchema()), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("batch.drain.settle_entries", lambda *_: None)  # it is killed before
        drain.step(None)
    assert drain.run_once() == 20
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT user_id, experiment, arm, generation, posts FROM hourfeed_exposures")
        ).all()
    assert sorted(map(tuple, rows)) == sorted(
        (user, "fresher", HALVES.arm_of(user), *(("t", "3 4") if HALVES.arm_of(user) == "test" else ("c", "1 2")))
        for user in USERS
    )
    assert (redis_client.xlen(KEYS.exposures), count_waiting(redis_client, KEYS)) == (0, 0)
    engine.dispose()
