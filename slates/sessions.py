"""Sessions of the operations page: a browser that has shown a key once, known to every server of one Redis."""

import hashlib
import secrets
from typing import cast

from redis import Redis

from slates.keys import Keys

TTL_S = 8 * 3600


def begin_session(redis: Redis, keys: Keys, key_hash: str) -> str:
    """Note that whoever holds the token that is returned has shown the key of `key_hash`, for TTL_S seconds."""
    token = secrets.token_urlsafe(32)
    redis.set(keys.session(_name(token)), key_hash, ex=TTL_S)
    return token


def key_hash_of(redis: Redis, keys: Keys, token: str) -> str | None:
    """Return the hash of the key that was shown for a token; None where there was none, or it is too long ago."""
    found = cast("bytes | None", redis.get(keys.session(_name(token))))
    return found.decode("ascii", "replace") if found else None


def end_session(redis: Redis, keys: Keys, token: str) -> None:
    """Forget a token."""
    redis.delete(keys.session(_name(token)))


def _name(token: str) -> str:
    """Return what stands for a token in Redis, so that whoever reads Redis cannot use it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
