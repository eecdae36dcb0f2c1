"""What streams are drained by: entries are handed out until they are settled."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from slates.cluster import control
from slates.keys import Keys

GROUP = "drain"
"""Consumer group, and its only consumer: a drain that follows a killed one is given what that one left, at once.

Two at the same time may get the same entries; the database tells which are new (docs/events.md).
"""

_SCANNED = 1_000

Entry = tuple[str, Mapping[bytes, bytes]]
"""The id of an entry, and its fields; none where it was removed after it had been handed out."""


def next_entries(redis: Redis, keys: Keys, stream: str, most: int, wait_ms: int | None) -> list[Entry]:
    """Return entries that are not settled, oldest first; wait so long for the first (None: not at all)."""
    node = control(redis, keys)
    return _read(node, stream, "0", most, None) or _read(node, stream, ">", most, wait_ms)


def settle_entries(redis: Redis, keys: Keys, stream: str, entry_ids: Sequence[str]) -> None:
    """Take entries off a stream."""
    with control(redis, keys).pipeline() as pipeline:
        pipeline.xack(stream, GROUP, *entry_ids)
        pipeline.xdel(stream, *entry_ids)
        pipeline.execute()


def remove_entries_of(redis: Redis, keys: Keys, stream: str, user_id: str) -> int:
    """Take a user's entries off a stream; return how many there were."""
    node: Any = control(redis, keys)
    begin, removed, wanted = "-", 0, user_id.encode()
    while entries := node.xrange(stream, begin, "+", count=_SCANNED):
        doomed = [entry_id for entry_id, fields in entries if fields.get(b"user_id") == wanted]
        if doomed:
            removed += node.xdel(stream, *doomed)
        begin = f"({entries[-1][0].decode()}"
    return removed


def _read(node: Any, stream: str, since: str, most: int, wait_ms: int | None) -> list[Entry]:
    try:
        answer = node.xreadgroup(GROUP, GROUP, {stream: since}, count=most, block=wait_ms)
    except ResponseError as error:
        if "NOGROUP" not in str(error):
            raise
        node.xgroup_create(stream, GROUP, id="0", mkstream=True)
        answer = node.xreadgroup(GROUP, GROUP, {stream: since}, count=most, block=wait_ms)
    entries = answer[0][1] if answer else []
    return [(entry_id.decode(), fields or {}) for entry_id, fields in entries]
