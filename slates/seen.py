"""Seen: what a user has acted on lately, so that it is gone from the feed before the next batch knows of it."""

from collections.abc import Collection, Iterable

from redis import Redis

from slates.keys import Keys, escape_id, unescape_id
from slates.resp import bulk, command
from slates.wire import send

MOST = 1_000
"""Posts kept of a user, the latest ones: every look-up reads them all."""
WRITE_REPLIES = 6
_NONE: frozenset[str] = frozenset()


def read_seen_command(key: str) -> bytes:
    """Write what asks for a user's posts; it gets one reply, for `read_seen`."""
    return b"*4\r\n$6\r\nZRANGE\r\n%b$1\r\n0\r\n$2\r\n-1\r\n" % bulk(key.encode())


def read_seen(reply: Collection[bytes]) -> frozenset[str]:
    """Return the ids of the posts."""
    if not reply:
        return _NONE
    return frozenset(unescape_id(member.decode("ascii", "replace")) for member in reply)


def add_seen_commands(key: str, post_ids: Iterable[str], now_s: int, ttl_s: int) -> bytes:
    """Write what notes posts as seen at `now_s` (seconds since 1970), for `ttl_s`; it gets WRITE_REPLIES replies.

    A sorted set by that time, from which the oldest go; the key ends `ttl_s` after the last post was added.
    """
    name = key.encode()
    scored = [part for post_id in post_ids for part in (b"%d" % now_s, escape_id(post_id).encode())]
    return b"".join(
        (
            command(b"MULTI"),
            command(b"ZADD", name, *scored),
            command(b"ZREMRANGEBYSCORE", name, b"-inf", b"(%d" % (now_s - ttl_s)),
            command(b"ZREMRANGEBYRANK", name, b"0", b"%d" % -(MOST + 1)),
            command(b"EXPIRE", name, b"%d" % ttl_s),
            command(b"EXEC"),
        )
    )


def note_seen(redis: Redis, keys: Keys, pairs: Iterable[tuple[str, str]], now_s: int, ttl_s: int) -> None:
    """Note (user id, post id) as seen at `now_s`, all in one round trip; twice does as once."""
    posts_of: dict[str, list[str]] = {}
    for user_id, post_id in pairs:
        posts_of.setdefault(user_id, []).append(post_id)
    named = [(keys.seen(user_id), post_ids) for user_id, post_ids in posts_of.items()]
    send(redis, [(key, add_seen_commands(key, posts, now_s, ttl_s), WRITE_REPLIES) for key, posts in named])
