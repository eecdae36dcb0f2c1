from redis import Redis

from bench.generation import differing_keys, digest_slates, keys_of
from slates.keys import Keys

KEYS = Keys("test")


def write(redis: Redis, generation: str, slates: dict[str, dict[str, str]]) -> None:
    redis.hset(KEYS.generation(generation), mapping={"id": generation})
    redis.hset(KEYS.shards(generation), "0", "{}")
    for user, fields in slates.items():
        redis.hset(KEYS.user(generation, user), items=[part for field in fields.items() for part in field])
    redis.hset(KEYS.popular(generation), mapping={"2021-12-20T15": "9"})


def test_the_same_slates_written_in_another_order_do_not_differ(redis_client: Redis) -> None:
    write(redis_client, "a-1", {"1": {"h1": "7 8", "h2": "8"}, "-2": {"h1": "5"}})
    write(redis_client, "a-2", {"-2": {"h1": "5"}, "1": {"h2": "8", "h1": "7 8"}})
    one, other = (digest_slates(redis_client, KEYS, generation) for generation in ("a-1", "a-2"))
    assert sorted(one) == ["popular", "user:-2", "user:1"]
    assert differing_keys(one, other) == []


def test_each_kind_of_difference_is_told_by_key(redis_client: Redis) -> None:
    write(redis_client, "a", {"same": {"h1": "7"}, "order": {"h1": "7 8"}, "hour": {"h1": "7"}, "gone": {"h1": "7"}})
    write(redis_client, "b", {"same": {"h1": "7"}, "order": {"h1": "8 7"}, "hour": {"h2": "7"}, "new": {"h1": "7"}})
    one, other = (digest_slates(redis_client, KEYS, generation) for generation in ("a", "b"))
    assert differing_keys(one, other) == ["user:gone", "user:hour", "user:new", "user:order"]


def test_strings_are_told_apart_too(redis_client: Redis) -> None:
    for generation, similar in (("a", "7 8"), ("b", "7 9")):
        write(redis_client, generation, {"same": {"h1": "7"}})
        redis_client.set(KEYS.similar(generation, "5"), similar)
        redis_client.set(KEYS.user(generation, "packed"), b"\x00\x01")
    one, other = (digest_slates(redis_client, KEYS, generation) for generation in ("a", "b"))
    assert differing_keys(one, other) == ["similar:5"]


def test_a_generation_whose_id_begins_like_another_keeps_its_keys_apart(redis_client: Redis) -> None:
    write(redis_client, "a-1", {"1": {"h1": "7"}})
    write(redis_client, "a-10", {"2": {"h1": "7"}})
    assert set(keys_of(redis_client, KEYS, "a-1", "user:")) == {KEYS.user("a-1", "1")}
