from redis import Redis

from slates.keys import Keys
from slates.seen import MOST, WRITE_REPLIES, add_seen_commands, read_seen, read_seen_command
from slates.wire import send

KEY = Keys().seen("7")


def add(redis: Redis, *post_ids: str, now_s: int = 10_000, ttl_s: int = 3_600) -> None:
    send(redis, [(KEY, add_seen_commands(KEY, post_ids, now_s, ttl_s), WRITE_REPLIES)])


def seen(redis: Redis) -> frozenset[str]:
    return read_seen(send(redis, [(KEY, read_seen_command(KEY), 1)])[0])


def test_what_was_added_is_read_whatever_its_id(redis_client: Redis) -> None:
    assert seen(redis_client) == frozenset()
    add(redis_client, "12", "a b", "пост", "50%")
    add(redis_client, "12", "-5")
    assert seen(redis_client) == {"12", "a b", "пост", "50%", "-5"}


def test_a_post_is_forgotten_after_its_time_though_others_come(redis_client: Redis) -> None:
    add(redis_client, "old", now_s=10_000)
    add(redis_client, "young", now_s=13_600)
    assert seen(redis_client) == {"old", "young"}
    add(redis_client, "new", now_s=13_601)
    assert seen(redis_client) == {"young", "new"}
    assert 3_590 <= redis_client.ttl(KEY) <= 3_600


def test_only_the_latest_posts_are_kept(redis_client: Redis) -> None:
    for number in range(MOST + 2):
        add(redis_client, f"p{number}", now_s=10_000 + number)
    assert len(seen(redis_client)) == MOST
    assert {"p0", "p1"}.isdisjoint(seen(redis_client))
