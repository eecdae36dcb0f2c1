import json
from typing import Any

import pytest
from click.testing import CliRunner
from fakeredis import FakeRedis
from flask.testing import FlaskClient
from published import Generation, put_posts
from redis import Redis

from cli.block import command
from server.app import create_app
from server.settings import ServerSettings
from slates.blocked import read_blocked
from slates.keys import Keys

FEED = "/post/recommendations/?id=7&time=2021-12-20T12"


def publish(redis: Redis) -> None:
    put_posts(redis, "123")
    Generation(users={"7": {12: "1 2 3"}}, popular={12: "1"}).publish(redis)


@pytest.fixture
def redis() -> FakeRedis:
    redis = FakeRedis()
    publish(redis)
    return redis


@pytest.fixture
def workers(redis: FakeRedis) -> list[FlaskClient]:
    return [create_app(ServerSettings(open=True), redis).test_client() for _ in range(2)]


def shown(client: FlaskClient) -> list[int]:
    return [post["id"] for post in client.get(FEED).json or ()]


def test_a_post_is_gone_from_every_workers_next_answer_and_back_likewise(workers: list[FlaskClient]) -> None:
    one, other = workers
    assert (shown(one), shown(other)) == ([1, 2, 3], [1, 2, 3])
    assert one.post("/v1/blocked", json={"post_ids": [2, "003", 2]}).json == {"changed": 2}
    assert (shown(one), shown(other)) == ([1], [1])
    assert other.get("/v1/blocked").json == {"post_ids": [2, 3]}
    assert other.delete("/v1/blocked/2").json == {"changed": 1}
    assert other.delete("/v1/blocked/2").json == {"changed": 0}
    assert (shown(one), shown(other)) == ([1, 2], [1, 2])


def test_it_takes_an_admin_key(redis: FakeRedis) -> None:
    client = create_app(ServerSettings(), redis).test_client()
    answers = [
        client.get("/v1/blocked"),
        client.post("/v1/blocked", json={"post_ids": [1]}),
        client.delete("/v1/blocked/1"),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert shown(client) == [1, 2, 3]


@pytest.mark.parametrize(
    "body",
    ["", "x", "[1]", "{}", '{"post_ids": []}', '{"post_ids": 1}', '{"post_ids": [1], "x": 1}', '{"post_ids": [1e400]}'],
)
def test_another_body_is_refused_and_says_what_would_do(workers: list[FlaskClient], body: str) -> None:
    answer = workers[0].post("/v1/blocked", data=body, content_type="application/json")
    assert answer.status_code == 422
    assert "post_ids" in json.dumps(answer.json)


@pytest.mark.parametrize("value", [None, True, 1.5, "x", "", [1], {}, 2**63])
def test_what_is_no_id_is_refused_and_nothing_is_taken_down(
    workers: list[FlaskClient], redis: FakeRedis, value: Any
) -> None:
    assert workers[0].post("/v1/blocked", json={"post_ids": [1, value]}).status_code == 422
    assert read_blocked(redis, Keys()) == set()


def test_more_than_a_thousand_at_once_and_other_types_are_refused(workers: list[FlaskClient]) -> None:
    assert workers[0].post("/v1/blocked", json={"post_ids": list(range(1000))}).status_code == 200
    assert workers[0].post("/v1/blocked", json={"post_ids": list(range(1001))}).status_code == 422
    assert workers[0].post("/v1/blocked", data={"post_ids": "1"}).status_code == 415


def test_the_command_takes_down_and_back_and_lists(
    redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(redis_client)
    monkeypatch.setenv("REDIS_URL", redis_url)
    client = create_app(ServerSettings(redis_url=redis_url)).test_client()
    assert CliRunner().invoke(command, ["1", "3"]).output.startswith("2 of 2 posts taken down")
    assert shown(client) == [2]
    assert CliRunner().invoke(command, ["--back", "3", "4"]).output.startswith("1 of 2 posts taken back")
    assert CliRunner().invoke(command).output == "1\n"
    assert shown(client) == [2, 3]
