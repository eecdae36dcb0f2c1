from datetime import UTC, datetime

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from slates.errors import CodecError
from slates.event import Event, decode_event, encode_event
from slates.event_stream import (
    REMEMBERED_S,
    StreamFullError,
    add_events,
    count_waiting,
    next_events,
    remove_events_of,
    settle_events,
)
from slates.keys import Keys

KEYS = Keys()
AT = datetime(2021, 12, 20, 15, 4, 5, 600_000, tzinfo=UTC)


def event(number: int, user_id: str = "7") -> Event:
    return Event(f"e{number}", user_id, f"{number}", "like", AT)


def handed_out(redis: Redis, most: int = 100) -> dict[str, Event | None]:
    return {waiting.entry_id: waiting.event for waiting in next_events(redis, KEYS, most, 1)}


def test_an_event_is_read_as_it_was_written() -> None:
    written = Event("e:1", "anna k", "пост", "like", AT.replace(year=9))
    assert encode_event(written)[-1] == "0009-12-20T15:04:05.600000Z"
    names = (b"event_id", b"user_id", b"post_id", b"action", b"at")
    entry = dict(zip(names, map(str.encode, encode_event(written)), strict=True))
    assert decode_event(entry) == written
    for broken in ({}, {**entry, b"at": b"noon"}, {**entry, b"user_id": b"\xff"}):
        with pytest.raises(CodecError):
            decode_event(broken)


def test_an_event_that_is_sent_again_counts_once(redis_client: Redis) -> None:
    assert add_events(redis_client, KEYS, [event(1), event(2), event(1)], 10) == 2
    assert add_events(redis_client, KEYS, [event(2), event(3)], 10) == 1
    assert list(handed_out(redis_client).values()) == [event(1), event(2), event(3)]
    assert REMEMBERED_S - 5 <= redis_client.ttl(KEYS.event("e1")) <= REMEMBERED_S


def test_a_full_stream_takes_in_all_events_or_none(redis_client: Redis) -> None:
    add_events(redis_client, KEYS, [event(1), event(2)], 3)
    with pytest.raises(StreamFullError, match="3 events wait"):
        add_events(redis_client, KEYS, [event(3), event(4)], 3)
    assert (count_waiting(redis_client, KEYS), redis_client.exists(KEYS.event("e3"))) == (2, 0)
    assert add_events(redis_client, KEYS, [event(1), event(2), event(3)], 3) == 1
    assert add_events(redis_client, KEYS, [event(1), event(2), event(3)], 3) == 0  # nothing new needs no place


def test_a_redis_without_memory_takes_in_nothing(redis_client: Redis) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StreamFullError, match="Redis is full"):
            add_events(redis_client, KEYS, [event(1)], 10)
    finally:
        redis_client.config_set("maxmemory", 0)


def test_what_is_in_the_way_of_the_stream_is_told(redis_client: Redis) -> None:
    redis_client.set(KEYS.events, "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        add_events(redis_client, KEYS, [event(1)], 10)


def test_events_come_again_until_they_are_settled(redis_client: Redis) -> None:
    add_events(redis_client, KEYS, [event(number) for number in range(5)], 10)
    first = handed_out(redis_client, 2)
    assert list(first.values()) == [event(0), event(1)]
    assert handed_out(redis_client, 2) == first  # the drain that had them is dead
    settle_events(redis_client, KEYS, list(first))
    settle_events(redis_client, KEYS, list(first))
    assert count_waiting(redis_client, KEYS) == 3
    rest = handed_out(redis_client)
    assert list(rest.values()) == [event(2), event(3), event(4)]
    settle_events(redis_client, KEYS, list(rest))
    assert handed_out(redis_client) == {}
    assert redis_client.xpending(KEYS.events, "drain")["pending"] == 0


def test_an_entry_of_another_hand_is_handed_out_as_it_lies(redis_client: Redis) -> None:
    redis_client.xadd(KEYS.events, {"user": "7"})
    (waiting,) = next_events(redis_client, KEYS, 10, 1)
    assert (waiting.event, waiting.raw) == (None, {b"user": b"7"})


def test_a_users_events_can_be_taken_off(redis_client: Redis) -> None:
    add_events(redis_client, KEYS, [event(number, "7" if number % 3 else "8") for number in range(1_500)], 2_000)
    out = handed_out(redis_client, 3)
    assert remove_events_of(redis_client, KEYS, "8") == 500
    assert count_waiting(redis_client, KEYS) == 1_000
    assert list(handed_out(redis_client, 3).values()) == [None, event(1), event(2)]
    settle_events(redis_client, KEYS, list(out))
    assert {waiting.user_id for waiting in handed_out(redis_client, 1_000).values() if waiting} == {"7"}
