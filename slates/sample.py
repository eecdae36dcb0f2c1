"""Some users of a generation, where nobody has a list of them: for those who compare or audit.

Keys are met in the order of their hashes, so that it is a fair sample; the same server gives the same one again.
Reading stops as soon as there are enough, and nothing is ever written or removed by what is met here.
"""

import re
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError

from slates.cluster import nodes
from slates.errors import SlatesError
from slates.keys import Keys, unescape_id

_KEYS = 1_000
"""Keys that a server looks through in one round trip."""
_ROUNDS = 2_000
"""Round trips at most, to each server: in a Redis that holds much else a sample may stay smaller."""


def sample_users(redis: Redis, keys: Keys, generation: str, most: int) -> list[str]:
    """Return up to `most` different ids of users for whom a generation holds slates.

    Raises SlatesError where Redis does not allow SCAN.
    """
    begin = keys.user(generation, "")
    servers = nodes(redis)
    found: dict[str, None] = {}
    try:
        for place, server in enumerate(servers, start=1):
            share = most * place // len(servers)  # what an earlier server lacked, the next ones make up for
            for name in _names(server, begin):
                if len(found) >= share:
                    break
                found[unescape_id(name.removeprefix(begin))] = None
    except NoPermissionError as error:
        msg = "a sample of users takes listing keys, which Redis denies this user: allow it +scan, or name another user"
        raise SlatesError(msg) from error
    return list(found)


def _names(server: Any, begin: str) -> Any:
    pattern, cursor = re.sub(r"([*?\[\]\\^-])", r"\\\1", begin) + "*", 0
    for _ in range(_ROUNDS):
        cursor, names = server.scan(cursor, match=pattern, count=_KEYS)
        yield from (name.decode() for name in names)
        if not cursor:
            return
