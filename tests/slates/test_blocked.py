from collections.abc import Callable

import pytest
from fakeredis import FakeRedis, FakeServer
from published import FIRST, Generation
from redis import Redis
from trips import round_trips

from slates.blocked import block, read_blocked, unblock
from slates.keys import Keys
from slates.lookup import Lookup

KEYS = Keys()
NOON = FIRST + 12
TUESDAY = Generation(
    id="tuesday",
    users={"7": {12: "1 2 3"}},
    user_segments={"7": "young", "8": "young"},
    segments={"young": {12: "20 21"}},
    popular={12: "30 31"},
)


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    redis = FakeRedis(server=server)
    TUESDAY.publish(redis)
    return redis


def ids(lookup: Lookup, user: str = "7", limit: int = 100) -> list[str]:
    return lookup.feed(user, NOON, limit).post_ids


def test_a_post_that_is_taken_down_is_hidden_by_every_process_from_the_next_look_up_on(redis: FakeRedis) -> None:
    workers = [Lookup(redis, KEYS) for _ in range(2)]
    assert [ids(worker) for worker in workers] == [["1", "2", "3", "20", "21", "30", "31"]] * 2
    assert block(redis, KEYS, ["2", "21", "30"]) == 3
    assert [ids(worker) for worker in workers] == [["1", "3", "20", "31"]] * 2
    assert unblock(redis, KEYS, ["21", "99"]) == 1
    assert [ids(worker) for worker in workers] == [["1", "3", "20", "21", "31"]] * 2


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda lookup: lookup.feed("8", NOON, 9).post_ids, ["21", "31"]),
        (lambda lookup: lookup.feed("nobody", NOON, 9).post_ids, ["31"]),
        (lambda lookup: lookup.popular(NOON, 9).post_ids, ["31"]),
    ],
)
def test_it_is_hidden_on_every_rung(redis: FakeRedis, look: Callable[[Lookup], list[str]], expected: list[str]) -> None:
    block(redis, KEYS, ["20", "30"])
    assert look(Lookup(redis, KEYS)) == expected


def test_a_rung_of_which_all_is_taken_down_does_not_hold(redis: FakeRedis) -> None:
    block(redis, KEYS, ["1", "2", "3"])
    assert Lookup(redis, KEYS).feed("7", NOON, 2).rung == "segment"
    block(redis, KEYS, ["20", "21"])
    assert Lookup(redis, KEYS).feed("7", NOON, 2).rung == "popular"


def test_the_set_is_read_after_a_change_alone(redis: FakeRedis) -> None:
    lookup = Lookup(redis, KEYS)
    ids(lookup)
    block(redis, KEYS, ["2"])
    with round_trips(redis) as trips:
        for _ in range(3):
            assert "2" not in ids(lookup)
    assert trips == ["MGET HMGET ZRANGE", "SMEMBERS", "MGET HMGET ZRANGE", "MGET HMGET ZRANGE"]


def test_what_is_down_stays_hidden_while_redis_is_away(redis: FakeRedis, server: FakeServer) -> None:
    lookup = Lookup(redis, KEYS)
    block(redis, KEYS, ["30"])
    ids(lookup)
    server.connected = False
    feed = lookup.feed("7", NOON, 2)
    assert (feed.rung, feed.post_ids) == ("memory", ["31"])
    assert lookup.blocked() == {"30"}


def test_a_redis_that_lost_everything_hides_nothing(redis: FakeRedis) -> None:
    lookup = Lookup(redis, KEYS)
    block(redis, KEYS, ["2"])
    assert "2" not in ids(lookup)
    redis.flushall()
    TUESDAY.publish(redis)
    assert "2" in ids(lookup)


def test_any_id_can_be_taken_down(redis: FakeRedis) -> None:
    strange = ["a b", "c:d", "пост", "%20", ""]
    assert block(redis, KEYS, strange) == 5
    assert read_blocked(redis, KEYS) == set(strange)
    assert (block(redis, KEYS, []), unblock(redis, KEYS, strange)) == (0, 5)
    assert read_blocked(redis, KEYS) == set()


def test_similar_posts_are_read_in_one_round_trip_without_those_that_are_down(redis: FakeRedis) -> None:
    redis.set(KEYS.similar("tuesday", "1"), "2 3 4")
    redis.set(KEYS.similar("tuesday", "5"), "")
    lookup = Lookup(redis, KEYS)
    block(redis, KEYS, ["3", "6"])
    lookup.blocked()
    with round_trips(redis) as trips:
        found = lookup.similar("1", 5)
    assert found is not None
    assert (found.post_ids, found.generation) == (["2", "4"], "tuesday")
    assert trips[-1] == "MGET GET"
    none = lookup.similar("5", 5)
    assert none is not None
    assert none.post_ids == []
    assert lookup.similar("6", 5) is lookup.similar("99", 5) is None


def test_a_real_redis_does_the_same(redis_client: Redis) -> None:
    TUESDAY.publish(redis_client)
    lookup = Lookup(redis_client, KEYS)
    block(redis_client, KEYS, ["2", "30"])
    assert ids(lookup) == ["1", "3", "20", "21", "31"]
    unblock(redis_client, KEYS, ["2"])
    assert ids(lookup) == ["1", "2", "3", "20", "21", "31"]
