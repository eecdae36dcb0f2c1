"""The stream of events: takes each in once, and hands them to the drain until that has put them into the database."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from redis import Redis
from redis.exceptions import ResponseError

from slates.cluster import control
from slates.errors import CodecError, SlatesError
from slates.event import FIELDS, Event, decode_event, encode_event
from slates.keys import Keys
from slates.stream import next_entries, remove_entries_of, settle_entries

REMEMBERED_S = 3_600
"""Seconds for which Redis knows an event's id; the database knows it longer."""

_ADD = f"""
local new = 0
for i = 2, #KEYS do new = new + 1 - redis.call('EXISTS', KEYS[i]) end
if new > 0 and redis.call('XLEN', KEYS[1]) + new > tonumber(ARGV[1]) then return -1 end
new = 0
for i = 2, #KEYS do
  if redis.call('SET', KEYS[i], '', 'NX', 'EX', ARGV[2]) then
    local at = 2 + {len(FIELDS)} * (i - 2)
    redis.call('XADD', KEYS[1], '*', {", ".join(f"'{name}', ARGV[at + {n}]" for n, name in enumerate(FIELDS, start=1))})
    new = new + 1
  end
end
return new
"""
"""KEYS: the stream, and the key of each event's id. ARGV: most entries, seconds, and the values of each event.

A script, because id and entry must be written both or not at all, and because of the bound.
"""


class StreamFullError(SlatesError):
    """Too many events wait for the database: none of these was taken in."""


class Waiting(NamedTuple):
    """An entry that waits for the database; `event` is None where it is none that can be read, `raw` is as it lies."""

    entry_id: str
    event: Event | None
    raw: Mapping[bytes, bytes]


def add_events(redis: Redis, keys: Keys, events: Sequence[Event], most: int) -> int:
    """Put events on the stream, all or none; return how many were not known by their id.

    Raises StreamFullError where more than `most` would wait, or Redis is full.
    """
    node = control(redis, keys)
    names = [keys.events, *(keys.event(event.event_id) for event in events)]
    values = [value for event in events for value in encode_event(event)]
    try:
        new: int = node.register_script(_ADD)(keys=names, args=[most, REMEMBERED_S, *values])
    except ResponseError as error:
        if "maxmemory" not in str(error):
            raise
        raise StreamFullError("Redis is full") from error
    if new < 0:
        msg = f"{most} events wait for the database already; does `hourfeed drain` run?"
        raise StreamFullError(msg)
    return new


def count_waiting(redis: Redis, keys: Keys) -> int:
    """Count the events that wait for the database."""
    return redis.xlen(keys.events)


def next_events(redis: Redis, keys: Keys, most: int, wait_ms: int | None) -> list[Waiting]:
    """Return events that are to go into the database, oldest first; wait so long for the first (None: not at all).

    The same ones come again until they are `settled`: first of all what was handed out before.
    """
    entries = next_entries(redis, keys, keys.events, most, wait_ms)
    return [Waiting(entry_id, _decoded(fields), fields) for entry_id, fields in entries]


def settle_events(redis: Redis, keys: Keys, entry_ids: Sequence[str]) -> None:
    """Take entries off the stream, which the database has by now."""
    settle_entries(redis, keys, keys.events, entry_ids)


def remove_events_of(redis: Redis, keys: Keys, user_id: str) -> int:
    """Take a user's events off the stream; return how many there were."""
    return remove_entries_of(redis, keys, keys.events, user_id)


def _decoded(fields: Mapping[bytes, bytes]) -> Event | None:
    try:
        return decode_event(fields)  # what was handed out and then removed has no fields
    except CodecError:
        return None
