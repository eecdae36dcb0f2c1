"""Posts that are taken down: hidden by every server from the next request on.

The set has a mark beside it, a random text that changes with it. Look-ups read the mark in the round trip of the slate
anyway, so a server reads the set itself only after a change.
"""

import secrets
from collections.abc import Iterable
from typing import cast

from redis import Redis

from slates.cluster import control
from slates.keys import Keys, escape_id, unescape_id
from slates.refusal import refusal_explained

_UNREAD = b"?"
"""No mark: marks are hexadecimal."""


class BlockedPosts:
    """The set as one process knows it."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._known: tuple[bytes | None, frozenset[str]] = _UNREAD, frozenset()

    @property
    def latest(self) -> frozenset[str]:
        """Return the ids as they were when Redis was last seen."""
        return self._known[1]

    def assume(self, post_ids: frozenset[str]) -> None:
        """Go by ids that an earlier process knew, until Redis is seen."""
        if self._known[0] == _UNREAD:
            self._known = _UNREAD, post_ids

    def at(self, mark: bytes | None) -> frozenset[str]:
        """Return the ids that belong to a mark, reading them when it is another than before (None: there is none)."""
        known, post_ids = self._known
        if mark != known:
            # The mark was read first, so what comes with it is at least as new; if newer, the next mark differs too.
            post_ids = read_blocked(self._redis, self._keys)
            self._known = mark, post_ids
        return post_ids


def read_blocked(redis: Redis, keys: Keys) -> frozenset[str]:
    """Return the ids of all posts that are taken down."""
    members = cast("set[bytes]", redis.smembers(keys.blocked))
    return frozenset(unescape_id(member.decode("utf-8", "replace")) for member in members)


def block(redis: Redis, keys: Keys, post_ids: Iterable[str]) -> int:
    """Take posts down; return how many were not down before."""
    return _change(redis, keys, "sadd", post_ids)


def unblock(redis: Redis, keys: Keys, post_ids: Iterable[str]) -> int:
    """Take posts back; return how many were down."""
    return _change(redis, keys, "srem", post_ids)


def _change(redis: Redis, keys: Keys, command: str, post_ids: Iterable[str]) -> int:
    members = [escape_id(post_id) for post_id in post_ids]
    if not members:
        return 0
    with refusal_explained(), control(redis, keys).pipeline() as transaction:
        getattr(transaction, command)(keys.blocked, *members)
        transaction.set(keys.blocked_mark, secrets.token_hex(8))
        return int(transaction.execute()[0])
