from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from fakeredis import FakeRedis, FakeServer
from published import FIRST, Generation
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from trips import round_trips

from slates.bucket import bucket_start
from slates.keys import Keys
from slates.lookup import Feed, Lookup, NoFeedError
from slates.seen import WRITE_REPLIES, add_seen_commands
from slates.wire import Ready, Wire, send

KEYS = Keys()
NOON = FIRST + 12

TUESDAY = Generation(
    id="tuesday",
    users={"7": {12: "1 2 3", 13: "4 5 6"}},
    user_segments={"7": "young", "8": "young"},
    segments={"young": {12: "3 20 21"}},
    popular={11: "32 33", 12: "20 30 31", 13: "34"},
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


@pytest.fixture
def lookup(redis: FakeRedis, clock: Clock) -> Lookup:
    return Lookup(redis, KEYS, clock=clock)


@contextmanager
def at_first_read_of(redis: Redis, key: str, happening: Callable[[], None]) -> Iterator[None]:
    """Let something happen between a look-up's reading of the pointer and its first reading of `key`."""
    waiting = [happening]

    def interrupted(_wire: Wire, batch: Sequence[Ready], *, tries: int) -> list[Any]:
        place = [name for name, _, _ in batch].index(key) if waiting else len(batch)
        replies = send(redis, batch[:place], tries=tries)
        if place < len(batch):
            waiting.pop()()
            replies += send(redis, batch[place:], tries=tries)
        return replies

    with patch.object(Wire, "ask", interrupted):
        yield


def put_seen(redis: Redis, user_id: str, post_ids: Sequence[str], now_s: int = 1_000) -> None:
    key = KEYS.seen(user_id)
    send(redis, [(key, add_seen_commands(key, post_ids, now_s, 3_600), WRITE_REPLIES)])


def test_the_users_own_slate_of_the_bucket_comes_first(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    slate = ["1", "2", "3"]
    expected = Feed(["1", "2"], "exact", NOON, "tuesday", datetime(2021, 12, 20, tzinfo=UTC), slate, iter(()))
    assert lookup.feed("7", NOON, limit=2) == expected


def test_another_day_is_answered_by_the_same_hour_of_the_generation(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    for day in (-400, -1, 1, 2):
        feed = lookup.feed("7", NOON + 24 * day, limit=3)
        assert (feed.rung, feed.bucket, feed.post_ids) == ("same_hour", NOON, ["1", "2", "3"])


def test_a_user_without_a_slate_gets_the_previous_generations(redis: FakeRedis, lookup: Lookup) -> None:
    monday = Generation(id="monday", first=FIRST - 24, users={"9": {-12: "40 41"}}, manifest={"state": "superseded"})
    monday.publish(redis)
    Generation(id="tuesday", popular={12: "30 41"}, manifest={"previous": "monday"}).publish(redis)
    feed = lookup.feed("9", NOON, limit=3)
    assert (feed.rung, feed.bucket, feed.generation) == ("previous", NOON - 24, "monday")
    assert feed.as_of == bucket_start(FIRST - 24)
    assert feed.post_ids == ["40", "41", "30"]  # filled from Tuesday's popular slate


def test_the_segment_noted_in_the_previous_generation_counts_too(redis: FakeRedis, lookup: Lookup) -> None:
    Generation(id="monday", user_segments={"9": "young"}, manifest={"state": "superseded"}).publish(redis)
    Generation(id="tuesday", segments={"young": {12: "50"}}, manifest={"previous": "monday"}).publish(redis)
    feed = lookup.feed("9", NOON, limit=1)
    assert (feed.rung, feed.post_ids, feed.generation) == ("segment", ["50"], "tuesday")


def test_a_generation_that_was_rolled_back_is_not_gone_back_to(redis: FakeRedis, lookup: Lookup) -> None:
    Generation(id="bad", users={"9": {12: "666"}}, manifest={"state": "rolled_back"}).publish(redis)
    Generation(id="good", popular={12: "30"}, manifest={"previous": "bad"}).publish(redis)
    assert lookup.feed("9", NOON, limit=1).rung == "popular"


def test_a_user_of_a_known_segment_gets_its_slate(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    feed = lookup.feed("8", NOON, limit=3)
    assert (feed.rung, feed.post_ids) == ("segment", ["3", "20", "21"])


def test_an_unknown_user_gets_the_popular_slate(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    feed = lookup.feed("nobody", NOON, limit=2)
    assert (feed.rung, feed.bucket, feed.post_ids) == ("popular", NOON, ["20", "30"])


def test_a_bucket_without_popular_slate_is_answered_by_the_nearest(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    feed = lookup.feed("nobody", FIRST + 3, limit=1)
    assert (feed.rung, feed.bucket, feed.post_ids) == ("popular", FIRST + 11, ["32"])


def test_a_long_feed_is_filled_from_segment_then_popular_then_other_buckets_without_repeats(
    redis: FakeRedis, lookup: Lookup
) -> None:
    TUESDAY.publish(redis)
    feed = lookup.feed("7", NOON, limit=100)
    # own 1 2 3; young (3) 20 21; popular at 12 (20) 30 31, at 11 32 33, at 13 34
    assert feed.post_ids == ["1", "2", "3", "20", "21", "30", "31", "32", "33", "34"]
    assert feed.rung == "exact"


def test_the_rest_of_a_feed_goes_on_where_it_ends(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    feed = lookup.feed("7", NOON, limit=2)
    assert feed.post_ids + list(feed.rest) == ["1", "2", "3", "20", "30", "31", "32", "33", "34"]


def test_what_a_user_acted_on_does_not_fill_the_feed(redis: FakeRedis, lookup: Lookup) -> None:
    replace(TUESDAY, user_acted={"7": "21 30 33"}).publish(redis)
    feed = lookup.feed("7", NOON, limit=4)
    # own 1 2 3; young (3) 20 21; popular at 12 (20) 30 31, at 11 32 33, at 13 34
    assert feed.post_ids == ["1", "2", "3", "20"]
    assert list(feed.rest) == ["31", "32", "34"]
    for bucket in (NOON, NOON + 24):
        assert lookup.feed("7", bucket, limit=100).post_ids == ["1", "2", "3", "20", "31", "32", "34"]
    assert "21" in lookup.feed("8", NOON, limit=100).post_ids  # another user's


def test_a_user_without_a_slate_gets_segment_and_popular_without_what_they_acted_on(
    redis: FakeRedis, lookup: Lookup
) -> None:
    replace(TUESDAY, user_acted={"8": "3 30", "9": "20"}).publish(redis)
    feed = lookup.feed("8", NOON, limit=100)
    assert (feed.rung, feed.post_ids) == ("segment", ["20", "21", "31", "32", "33", "34"])
    feed = lookup.feed("9", NOON, limit=100)
    assert (feed.rung, feed.post_ids) == ("popular", ["30", "31", "32", "33", "34"])


def test_a_segment_of_which_the_user_acted_on_everything_is_passed_over(redis: FakeRedis, lookup: Lookup) -> None:
    replace(TUESDAY, user_acted={"8": "3 20 21"}).publish(redis)
    feed = lookup.feed("8", NOON, limit=2)
    assert (feed.rung, feed.post_ids, feed.slate) == ("popular", ["30", "31"], ["20", "30", "31"])


def test_the_previous_slate_is_filled_without_what_the_user_had_acted_on_by_then(
    redis: FakeRedis, lookup: Lookup
) -> None:
    superseded = {"state": "superseded"}
    monday = Generation(id="monday", users={"9": {12: "40 41"}}, user_acted={"9": "30"}, manifest=superseded)
    monday.publish(redis)
    tuesday = Generation(id="tuesday", popular={12: "30 41 42"}, manifest={"previous": "monday"})
    tuesday.publish(redis)
    feed = lookup.feed("9", NOON, limit=5)
    assert (feed.rung, feed.post_ids) == ("previous", ["40", "41", "42"])
    replace(tuesday, user_acted={"9": "41"}).publish(redis)  # and since then on 41
    assert lookup.feed("9", NOON, limit=5).post_ids == ["40", "42"]
    replace(tuesday, user_acted={"9": "40 41"}).publish(redis)
    feed = lookup.feed("9", NOON, limit=5)
    assert (feed.rung, feed.generation, feed.post_ids) == ("popular", "tuesday", ["42"])


def test_a_user_who_acted_on_everything_gets_an_empty_feed(redis: FakeRedis, lookup: Lookup) -> None:
    Generation(popular={12: "30 31"}, users={"9": {12: ""}}, user_acted={"9": "30 31"}).publish(redis)
    feed = lookup.feed("9", NOON, limit=5)
    assert (feed.rung, feed.post_ids, list(feed.rest)) == ("popular", [], [])


def test_a_broken_list_of_acted_on_posts_is_passed_over(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    redis.hset(KEYS.user("tuesday", "7"), "acted", b"20  \xff")
    assert lookup.feed("7", NOON, limit=4).post_ids == ["1", "2", "3", "20"]


def test_what_a_user_acted_on_comes_in_the_round_trip_of_the_slate(redis: FakeRedis, lookup: Lookup) -> None:
    replace(TUESDAY, user_acted={"7": "20"}).publish(redis)
    lookup.feed("7", NOON, limit=100)
    with round_trips(redis) as trips:
        assert "20" not in lookup.feed("7", NOON, limit=100).post_ids
    assert trips == ["MGET HMGET ZRANGE"]


def test_a_post_seen_since_is_gone_from_the_feed_at_once(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    assert lookup.feed("7", NOON, limit=4).post_ids == ["1", "2", "3", "20"]
    put_seen(redis, "7", ["1", "20"])
    feed = lookup.feed("7", NOON, limit=4)
    assert (feed.rung, feed.slate, feed.post_ids) == ("exact", ["2", "3"], ["2", "3", "21", "30"])
    assert lookup.feed("8", NOON, limit=2).post_ids == ["3", "20"]  # another user's
    put_seen(redis, "8", ["3"])
    assert lookup.feed("8", NOON, limit=2).post_ids == ["20", "21"]


def test_a_user_who_has_seen_the_whole_slate_gets_what_follows(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    put_seen(redis, "7", ["1", "2", "3"])
    feed = lookup.feed("7", NOON, limit=2)
    assert (feed.rung, feed.post_ids) == ("segment", ["20", "21"])


def test_a_slate_that_repeats_a_post_is_shown_without_the_repeat(redis: FakeRedis, lookup: Lookup) -> None:
    Generation(users={"7": {12: "1 2 1 3"}}).publish(redis)
    assert lookup.feed("7", NOON, limit=3).post_ids == ["1", "2", "3"]


def test_a_broken_slate_is_passed_over(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    redis.hset(KEYS.user("tuesday", "7"), "2021122012", b"1  \xff")
    assert lookup.feed("7", NOON, limit=3).rung == "segment"


def test_a_look_up_is_one_round_trip(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=3)
    with round_trips(redis) as trips:
        lookup.feed("7", NOON, limit=3)
        lookup.feed("7", NOON + 24, limit=3)
        lookup.popular(NOON, limit=3)
    assert trips == ["MGET HMGET ZRANGE", "MGET HMGET ZRANGE", "MGET"]


def test_a_segments_slates_are_read_once(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=4)
    with round_trips(redis) as trips:
        assert lookup.feed("7", NOON, limit=4).post_ids == ["1", "2", "3", "20"]
    assert trips == ["MGET HMGET ZRANGE"]


def test_a_flip_is_seen_by_the_next_look_up(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    Generation(id="wednesday", users={"7": {12: "70"}}).publish(redis)
    feed = lookup.feed("7", NOON, limit=1)
    assert (feed.generation, feed.post_ids) == ("wednesday", ["70"])


def test_a_generation_that_vanishes_is_replaced_by_the_new_one(redis: FakeRedis, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    Generation(id="wednesday", users={"7": {12: "70"}}).publish(redis)
    TUESDAY.unlink(redis)
    feed = lookup.feed("7", NOON, limit=1)
    assert (feed.generation, feed.rung, feed.post_ids) == ("wednesday", "exact", ["70"])


def test_a_flip_and_unlink_between_pointer_and_slate_is_survived(redis: FakeRedis, lookup: Lookup) -> None:
    def flip() -> None:
        Generation(id="wednesday", users={"7": {12: "70"}}).publish(redis)
        TUESDAY.unlink(redis)

    TUESDAY.publish(redis)
    with at_first_read_of(redis, KEYS.user("tuesday", "7"), flip):
        feed = lookup.feed("7", NOON, limit=1)
    assert (feed.generation, feed.rung, feed.post_ids) == ("wednesday", "exact", ["70"])


def test_a_live_generation_whose_keys_expired_is_answered_from_what_is_in_memory(
    redis: FakeRedis, lookup: Lookup, clock: Clock
) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    TUESDAY.unlink(redis)
    clock.now_s += 5
    feed = lookup.feed("7", NOON, limit=2)
    assert (feed.rung, feed.post_ids) == ("popular", ["20", "30"])


def test_an_unreadable_new_generation_leaves_the_old_one_serving(
    redis: FakeRedis, lookup: Lookup, clock: Clock
) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    redis.hset(KEYS.generation("strange"), "id", "strange")
    redis.set(KEYS.current, "strange")
    clock.now_s += 1
    assert lookup.feed("7", NOON, limit=1).post_ids == ["1"]


def test_while_one_thread_loads_a_new_generation_others_answer_from_the_old(redis: FakeRedis, clock: Clock) -> None:
    meanwhile: list[Feed] = []

    def ask_meanwhile(_: object) -> None:
        if redis.get(KEYS.current) == b"wednesday":
            meanwhile.append(reader.feed("7", NOON, limit=1))

    reader = Lookup(redis, KEYS, clock=clock, on_view=ask_meanwhile)
    TUESDAY.publish(redis)
    reader.feed("7", NOON, limit=1)
    Generation(id="wednesday", users={"7": {12: "70"}}).publish(redis)
    clock.now_s += 1
    assert reader.feed("7", NOON, limit=1).post_ids == ["70"]
    assert [(feed.generation, feed.post_ids) for feed in meanwhile] == [("tuesday", ["1"])]


def test_memory_answers_while_redis_is_away(redis: FakeRedis, server: FakeServer, lookup: Lookup) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    server.connected = False
    feed = lookup.feed("7", NOON + 24, limit=4)
    assert (feed.rung, feed.bucket, feed.generation) == ("memory", NOON, "tuesday")
    assert feed.post_ids == ["20", "30", "31", "32"]


def test_a_redis_that_is_away_is_asked_again_after_a_pause_only(
    redis: FakeRedis, server: FakeServer, lookup: Lookup, clock: Clock
) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    server.connected = False
    with round_trips(redis) as trips:
        for _ in range(5):
            assert lookup.feed("7", NOON, limit=1).rung == "memory"
    assert trips == ["MGET HMGET ZRANGE"]
    server.connected = True
    assert lookup.feed("7", NOON, limit=1).rung == "memory"
    clock.now_s += 1.0
    assert lookup.feed("7", NOON, limit=1).rung == "exact"
    assert lookup.feed("7", NOON, limit=1).rung == "exact"


def test_a_pointer_that_is_gone_leaves_memory_answering(redis: FakeRedis, lookup: Lookup, clock: Clock) -> None:
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    redis.flushall()
    clock.now_s += 1
    assert lookup.feed("7", NOON, limit=1).rung == "memory"
    with pytest.raises(NoFeedError, match="no generation is live"):
        lookup.refresh()


def test_without_any_generation_there_is_no_feed(lookup: Lookup) -> None:
    with pytest.raises(NoFeedError, match="no generation is live yet; run `hourfeed batch`"):
        lookup.feed("7", NOON, limit=1)
    with pytest.raises(NoFeedError, match="no generation is live yet"):
        lookup.manifest()


def test_a_generation_without_slates_has_no_feed(
    redis: FakeRedis, server: FakeServer, lookup: Lookup, clock: Clock
) -> None:
    Generation(id="bare").publish(redis)
    with pytest.raises(NoFeedError, match=r"^generation bare is live, but empty; run `hourfeed batch`"):
        lookup.feed("7", NOON, limit=1)
    assert lookup.refresh().id == "bare"
    redis.flushall()
    clock.now_s += 1
    with pytest.raises(NoFeedError, match=r"^no generation is live yet; run `hourfeed batch`$"):
        lookup.feed("7", NOON, limit=1)
    server.connected = False
    with pytest.raises(NoFeedError, match=r"^Redis is away$"):
        lookup.feed("7", NOON, limit=1)


def test_strangers_are_answered_when_the_live_generation_has_a_popular_slate(
    redis: FakeRedis, lookup: Lookup, clock: Clock
) -> None:
    assert not lookup.answers_strangers()
    TUESDAY.publish(redis)
    lookup.refresh()
    assert lookup.answers_strangers()
    Generation(id="wednesday", users={"7": {12: "70"}}, popular={12: ""}).publish(redis)
    lookup.refresh()
    assert not lookup.answers_strangers()
    assert lookup.feed("7", NOON, limit=1).post_ids == ["70"]


def test_a_redis_that_was_never_seen_gives_no_feed(server: FakeServer, lookup: Lookup) -> None:
    server.connected = False
    with pytest.raises(NoFeedError, match="Redis is away"):
        lookup.feed("7", NOON, limit=1)
    with pytest.raises(NoFeedError, match="Redis is away"):
        lookup.manifest()


def test_a_failure_while_a_new_generation_is_loaded_leaves_the_old_one_serving(redis: FakeRedis, clock: Clock) -> None:
    def refuse_wednesday(_: object) -> None:
        if redis.get(KEYS.current) == b"wednesday":
            raise RedisConnectionError

    lookup = Lookup(redis, KEYS, clock=clock, on_view=refuse_wednesday)
    TUESDAY.publish(redis)
    lookup.feed("7", NOON, limit=1)
    Generation(id="wednesday", popular={12: "70"}).publish(redis)
    clock.now_s += 1
    feed = lookup.feed("7", NOON, limit=1)
    assert (feed.rung, feed.generation) == ("memory", "tuesday")


def test_two_prefixes_in_one_redis_do_not_mix(redis: FakeRedis, clock: Clock) -> None:
    TUESDAY.publish(redis)
    Generation(id="tuesday", users={"7": {12: "99"}}).publish(redis, Keys("other"))
    assert Lookup(redis, Keys("other"), clock=clock).feed("7", NOON, limit=1).post_ids == ["99"]
    assert Lookup(redis, Keys(), clock=clock).feed("7", NOON, limit=1).post_ids == ["1"]


def test_the_real_redis_answers_as_the_fake_one(redis_client: Redis) -> None:
    TUESDAY.publish(redis_client)
    lookup = Lookup(redis_client, KEYS)
    assert [lookup.feed(user, NOON, limit=1).rung for user in ("7", "8", "9")] == ["exact", "segment", "popular"]
    redis_client.set(KEYS.current, "gone")
    assert lookup.refresh().id == "tuesday"
