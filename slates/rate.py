"""Counts requests by caller and window, for all servers of one Redis together."""

from redis import Redis

from slates.keys import Keys
from slates.resp import command
from slates.wire import send

_TRIES = 1


def count_request(redis: Redis, keys: Keys, caller: str, window: int, window_s: int) -> int:
    """Count one more request of a caller in a window, and return how many it is; the count goes with its window."""
    key = keys.rate(caller, window)
    counted = b"".join(
        (
            command(b"MULTI"),
            command(b"INCR", key.encode()),
            command(b"EXPIRE", key.encode(), b"%d" % (2 * window_s)),
            command(b"EXEC"),
        )
    )
    ((count, _),) = send(redis, [(key, counted, 4)], tries=_TRIES)
    return int(count)
