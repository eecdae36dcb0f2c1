"""Erases a user from Redis, and notes that for the batch, which has copies of its own."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, cast

from redis import Redis

from slates.cluster import control
from slates.event_stream import remove_events_of
from slates.generations import names_of_generations
from slates.keys import Keys, escape_id, unescape_id
from slates.resp import command
from slates.stream import remove_entries_of
from slates.wire import send


class Erased(NamedTuple):
    """What was removed: hashes (or strings) of slates, posts that hid, events and exposures that waited."""

    slates: int
    seen: int
    waiting_events: int
    waiting_exposures: int


def erase_user(redis: Redis, keys: Keys, user_id: str) -> Erased:
    """Remove all that Redis holds of a user; twice does as once.

    The note comes first: a batch that publishes the user's slates right now unlinks them after its flip.
    """
    control(redis, keys).zadd(keys.erased, {escape_id(user_id): int(time.time())})
    seen_key = keys.seen(user_id)
    (seen, _) = send(
        redis,
        [
            (seen_key, command(b"ZCARD", seen_key.encode()), 1),
            (seen_key, command(b"UNLINK", seen_key.encode()), 1),
        ],
    )
    return Erased(
        _unlink_slates(redis, keys, [user_id]),
        seen,
        remove_events_of(redis, keys, user_id),
        remove_entries_of(redis, keys, keys.exposures, user_id),
    )


def erased_users(redis: Redis, keys: Keys) -> list[str]:
    """Return the ids of the users that were erased and may be in the batch's own copies, or in the database, still."""
    return [unescape_id(member.decode()) for member in cast("list[bytes]", redis.zrange(keys.erased, 0, -1))]


def settle_erased(redis: Redis, keys: Keys, before: Iterable[str], still_known: Iterable[str]) -> None:
    """Unlink what a run has published of erased users, and forget those that it has cleared away.

    before : users that were noted as erased when the run began. still_known : those whom it has met in the database
    all the same; they stay noted.
    """
    _unlink_slates(redis, keys, erased_users(redis, keys))
    done = [escape_id(user_id) for user_id in set(before) - set(still_known)]
    if done:
        control(redis, keys).zrem(keys.erased, *done)


def _unlink_slates(redis: Redis, keys: Keys, user_ids: Iterable[str]) -> int:
    arms = [member.decode() for member in cast("set[bytes]", redis.smembers(keys.arms))]
    names = [name for arm in ("", *arms) for name in names_of_generations(redis, replace(keys, arm=arm))]
    owned = [keys.user(name, user_id) for user_id in user_ids for name in names]
    return sum(send(redis, [(key, command(b"UNLINK", key.encode()), 1) for key in owned])) if owned else 0
