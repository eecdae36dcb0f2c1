from datetime import UTC, datetime, timedelta

import pytest
from fakeredis import FakeRedis, FakeServer
from flask.testing import FlaskClient
from published import Generation

from server.app import create_app
from server.settings import ServerSettings


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


@pytest.fixture
def client(redis: FakeRedis) -> FlaskClient:
    return create_app(ServerSettings(fresh_for_h=2), redis).test_client()


def generation_of_hours_ago(hours: float) -> Generation:
    return Generation(id="g1", manifest={"as_of": datetime.now(UTC) - timedelta(hours=hours)})


def test_alive_does_not_need_redis(client: FlaskClient, server: FakeServer) -> None:
    server.connected = False
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_a_fresh_generation_makes_ready(client: FlaskClient, redis: FakeRedis) -> None:
    generation_of_hours_ago(1.9).publish(redis)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["status"], answer.json["generation"], answer.json["reason"]) == ("ready", "g1", "")
    assert 1.9 * 3600 <= answer.json["age_s"] <= 1.9 * 3600 + 60


def test_a_stale_generation_is_not_ready_and_says_why(client: FlaskClient, redis: FakeRedis) -> None:
    generation_of_hours_ago(2.1).publish(redis)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert (answer.json["status"], answer.json["generation"]) == ("stale", "g1")
    assert answer.json["reason"] == "the live generation is 2.1 hours old, over 2; does the batch still run?"


def test_no_generation_is_not_ready(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "status": "unready",
        "generation": None,
        "age_s": None,
        "reason": "no generation is live yet; run `hourfeed batch`",
    }


def test_a_redis_that_is_away_is_not_ready_although_memory_answers(
    client: FlaskClient, redis: FakeRedis, server: FakeServer
) -> None:
    generation_of_hours_ago(0).publish(redis)
    assert client.get("/readyz").status_code == 200
    server.connected = False
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["reason"] == "Redis is away"


def test_ready_sees_a_flip_at_once(client: FlaskClient, redis: FakeRedis) -> None:
    generation_of_hours_ago(0).publish(redis)
    client.get("/readyz")
    Generation(id="g2", manifest={"as_of": datetime.now(UTC)}).publish(redis)
    answer = client.get("/readyz")
    assert answer.json is not None
    assert answer.json["generation"] == "g2"
