from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakeredis import FakeRedis, FakeServer
from flask.testing import FlaskClient
from published import Generation

from server.app import create_app
from server.settings import ServerSettings


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


@pytest.fixture
def client(redis: FakeRedis) -> FlaskClient:
    return create_app(ServerSettings(fresh_for_h=2), redis).test_client()


def generation_of_hours_ago(hours: float) -> Generation:
    as_of = datetime.now(UTC) - timedelta(hours=hours)
    return Generation(id="g1", popular={12: "1"}, manifest={"as_of": as_of})


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


def test_a_generation_that_cannot_answer_a_stranger_is_not_ready(client: FlaskClient, redis: FakeRedis) -> None:
    generation_of_hours_ago(0).publish(redis)
    assert client.get("/readyz").status_code == 200
    replace(generation_of_hours_ago(1), id="g2", users={"7": {12: "1"}}, popular={12: ""}).publish(redis)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert (answer.json["status"], answer.json["generation"]) == ("unready", "g2")
    assert answer.json["age_s"] >= 3600
    assert answer.json["reason"] == ("the popular slate of generation g2 is empty, so users without slates get no feed")


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
    assert (answer.json["status"], answer.json["generation"]) == ("degraded", "g1")
    assert answer.json["age_s"] < 60
    assert answer.json["reason"] == "Redis is away; everybody gets popular posts, from memory"
    answer = client.get("/readyz?degraded=ok")
    assert (answer.status_code, (answer.json or {})["status"]) == (200, "degraded")


def test_a_server_that_has_nothing_to_answer_is_not_ready_whatever_is_asked(
    client: FlaskClient, server: FakeServer
) -> None:
    server.connected = False
    answer = client.get("/readyz?degraded=ok")
    assert (answer.status_code, (answer.json or {})["status"]) == (503, "unready")


def test_whoever_asks_for_less_gets_a_stale_generation_as_well(client: FlaskClient, redis: FakeRedis) -> None:
    generation_of_hours_ago(2.1).publish(redis)
    answer = client.get("/readyz?degraded=ok")
    assert (answer.status_code, (answer.json or {})["status"]) == (200, "stale")
    assert client.get("/readyz?degraded=no").status_code == 422


def test_ready_sees_a_flip_at_once(client: FlaskClient, redis: FakeRedis) -> None:
    generation_of_hours_ago(0).publish(redis)
    client.get("/readyz")
    replace(generation_of_hours_ago(0), id="g2").publish(redis)
    answer = client.get("/readyz")
    assert answer.json is not None
    assert answer.json["generation"] == "g2"
