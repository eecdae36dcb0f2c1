import os
import time
from unittest.mock import patch

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from slates.client import connect
from slates.resp import command
from slates.wire import Ready, Wire

ECHO: Ready = ("", command(b"ECHO", b"hello"), 1)


def ids_of(redis: Redis) -> set[str]:
    return {client["id"] for client in redis.client_list()}


def test_replies_come_in_the_order_of_the_commands(redis_client: Redis) -> None:
    redis_client.set("a", "1")
    wire = Wire(redis_client)
    batch: list[Ready] = [("a", command(b"GET", b"a"), 1), ECHO, ("b", command(b"MGET", b"a", b"b"), 1)]
    assert wire.ask(batch) == [b"1", b"hello", [b"1", None]]


def test_one_connection_serves_many_and_the_pool_closes_it(redis_url: str, redis_client: Redis) -> None:
    with connect(redis_url) as redis:
        wire = Wire(redis)
        for _ in range(3):
            wire.ask([ECHO])
        assert len(ids_of(redis_client)) == 2
    redis_client.ping()
    assert len(ids_of(redis_client)) == 1
    assert wire.ask([ECHO]) == [b"hello"]  # it connects anew


def test_a_connection_that_broke_is_replaced_at_once(redis_url: str, redis_client: Redis) -> None:
    with connect(redis_url, retries=0) as redis:
        wire = Wire(redis)
        wire.ask([ECHO])
        for other in ids_of(redis_client) - {str(redis_client.client_id())}:
            redis_client.client_kill_filter(_id=other)
        assert wire.ask([ECHO]) == [b"hello"]


def test_a_connection_that_rested_for_long_is_not_trusted(redis_client: Redis) -> None:
    wire = Wire(redis_client)
    wire.ask([ECHO])
    before = ids_of(redis_client)
    with patch("slates.wire.time.monotonic", return_value=time.monotonic() + 31):
        assert wire.ask([ECHO]) == [b"hello"]
    assert ids_of(redis_client) - before


def test_after_an_error_that_redis_answers_nothing_of_it_is_left(redis_client: Redis) -> None:
    redis_client.set("text", "x")
    wire = Wire(redis_client)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        wire.ask([("text", command(b"HGET", b"text", b"x"), 1), ECHO])
    assert wire.ask([ECHO]) == [b"hello"]


def test_what_is_not_answered_in_time_is_not_asked_again(redis_url: str, redis_client: Redis) -> None:
    redis_client.config_resetstat()
    with connect(redis_url, timeout_s=0.05, retries=3) as redis:
        blocking: Ready = ("list", command(b"BLPOP", b"list", b"10"), 1)
        with pytest.raises(RedisTimeoutError):
            Wire(redis).ask([blocking])
    assert redis_client.llen("list") == 0
    assert redis_client.info("stats")["total_connections_received"] == 1


def test_a_fork_leaves_the_connections_of_its_parent_alone(redis_client: Redis) -> None:
    wire = Wire(redis_client)
    wire.ask([ECHO])
    before = ids_of(redis_client)
    with patch("slates.wire.os.getpid", return_value=os.getpid() + 1):
        assert wire.ask([ECHO]) == [b"hello"]
    assert ids_of(redis_client) - before
