import contextlib
from collections.abc import Iterator

import pytest
from publishing import KEYS, publish
from redis import Redis

from slates.errors import NoRoomError
from slates.room import read_rooms, refuse_without_room

MB = 1_000_000


@contextlib.contextmanager
def configured(redis: Redis, **settings: object) -> Iterator[None]:
    names = {name.replace("_", "-"): value for name, value in settings.items()}
    before = {name: str(redis.config_get(name)[name]) for name in names}
    for name, value in names.items():
        redis.config_set(name, str(value))
    try:
        yield
    finally:
        for name, value in before.items():
            redis.config_set(name, value)


def check(redis: Redis, *, of_generation: int = 10 * MB, of_posts: int = 5 * MB, keep: int = 3) -> None:
    refuse_without_room(redis, KEYS, of_generation=of_generation, of_posts=of_posts, keep=keep)


def used(redis: Redis) -> int:
    (room,) = read_rooms(redis)
    return room.used


def test_a_redis_without_a_limit_has_room(redis_client: Redis) -> None:
    with configured(redis_client, maxmemory=0, maxmemory_policy="allkeys-lru"):
        check(redis_client, of_generation=10**15)


def test_the_first_run_needs_room_for_all_that_will_be_kept_the_one_being_written_and_the_posts(
    redis_client: Redis,
) -> None:
    with configured(redis_client, maxmemory=used(redis_client) + 46 * MB):
        check(redis_client)  # 4 × 10 + 5
    with (
        configured(redis_client, maxmemory=used(redis_client) + 44 * MB),
        pytest.raises(NoRoomError, match=r"room for 4\d\.\d MB .*45\.0 MB are needed: 4 more generations of 10\.0 MB"),
    ):
        check(redis_client)


def test_later_runs_need_room_for_what_is_not_there_yet(redis_client: Redis) -> None:
    for missing in (3, 2, 1, 1):
        publish(redis_client)
        with configured(redis_client, maxmemory=used(redis_client) + missing * 10 * MB + MB):
            check(redis_client)
        with (
            configured(redis_client, maxmemory=used(redis_client) + missing * 10 * MB - MB),
            pytest.raises(NoRoomError, match=rf"{missing} more generations of .* keep_generations = 3"),
        ):
            check(redis_client)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "volatile-lru"])
def test_a_redis_that_would_evict_is_refused_and_the_remedy_named(redis_client: Redis, policy: str) -> None:
    with (
        configured(redis_client, maxmemory=10**12, maxmemory_policy=policy),
        pytest.raises(NoRoomError, match=rf"policy is {policy}, .*CONFIG SET maxmemory-policy noeviction"),
    ):
        check(redis_client)
