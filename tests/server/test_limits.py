from unittest.mock import patch

import pytest
from fakeredis import FakeRedis, FakeServer
from published import Generation, put_posts
from redis import Redis

from server.app import create_app
from server.keys import hash_of, new_key
from server.settings import ServerSettings

URL = "/post/recommendations/?id=7&time=2021-12-20T12"
NOON_S = 1_640_001_600


def publish(redis: Redis) -> None:
    put_posts(redis, "1")
    Generation(users={"7": {12: "1"}}, popular={12: "1"}).publish(redis)


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    redis = FakeRedis(server=server)
    publish(redis)
    return redis


def test_a_caller_beyond_the_limit_is_told_when_to_come_back(redis: FakeRedis) -> None:
    workers = [create_app(ServerSettings(rate_limit=3), redis).test_client() for _ in range(2)]
    with patch("server.limits.time.time", return_value=NOON_S + 20.5) as now:
        assert [workers[turn % 2].get(URL).status_code for turn in range(5)] == [200, 200, 200, 429, 429]
        answer = workers[0].get(URL)
        assert answer.headers["Retry-After"] == "40"
        assert answer.json == {"error": {"reason": "more than 3 requests in a minute"}}
        now.return_value = NOON_S + 60
        assert workers[0].get(URL).status_code == 200


def test_callers_are_told_apart_by_key_else_by_address(redis: FakeRedis) -> None:
    keys = [new_key("read") for _ in range(2)]
    app = create_app(ServerSettings(rate_limit=1, read_keys=tuple(map(hash_of, keys)), proxies=1), redis)
    client = app.test_client()

    def ask(key: str | None, address: str) -> int:
        headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {key}"} if key else {})
        return client.get(URL, headers=headers).status_code

    with patch("server.limits.time.time", return_value=NOON_S):
        assert [ask(key, "10.0.0.1") for key in (keys[0], keys[1], keys[0])] == [200, 200, 429]
        # Keys that are not known count by address, so that nobody gets a new allowance by inventing one.
        assert [ask(f"guess {turn}", "10.0.0.2") for turn in range(2)] == [401, 429]
        assert ask(None, "10.0.0.3") == 401
    assert not [name for name in redis.scan_iter() if keys[0].encode() in name]


def test_whoever_watches_is_not_limited(redis: FakeRedis) -> None:
    client = create_app(ServerSettings(rate_limit=1), redis).test_client()
    assert {client.get("/healthz").status_code for _ in range(3)} == {200}


def test_while_redis_is_away_everything_is_let_through(redis: FakeRedis, server: FakeServer) -> None:
    client = create_app(ServerSettings(rate_limit=1), redis).test_client()
    with patch("server.limits.time.time", return_value=NOON_S):
        assert [client.get(URL).status_code for _ in range(2)] == [200, 429]
        server.connected = False
        assert [client.get(URL).status_code for _ in range(3)] == [200, 200, 200]


def test_counters_go_by_themselves(redis_client: Redis) -> None:
    publish(redis_client)
    client = create_app(ServerSettings(rate_limit=2), redis_client).test_client()
    with patch("server.limits.time.time", return_value=NOON_S):
        assert [client.get(URL).status_code for _ in range(3)] == [200, 200, 429]
    assert redis_client.get("hourfeed:rate:127.0.0.1:27333360") == b"3"
    assert 110 <= redis_client.ttl("hourfeed:rate:127.0.0.1:27333360") <= 120


def test_a_body_beyond_the_limit_is_413(redis: FakeRedis) -> None:
    app = create_app(ServerSettings(max_body_bytes=1024), redis)

    @app.post("/echo")
    def echo() -> bytes:
        from flask import request

        return request.get_data()

    client = app.test_client()
    assert client.post("/echo", data=b"x" * 1024).status_code == 200
    assert client.post("/echo", data=b"x" * 1025).status_code == 413
