"""An event on its way to the database: what a user did to which post, as an entry of the stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from slates.errors import CodecError
from slates.moment import read_microsecond, write_microsecond

FIELDS = ("event_id", "user_id", "post_id", "action", "at")


@dataclass(frozen=True)
class Event:
    """What happened at `at` (aware); `event_id` is the sender's, and two events with the same one are the same."""

    event_id: str
    user_id: str
    post_id: str
    action: str
    at: datetime


def encode_event(event: Event) -> list[str]:
    """Write the values of an entry, in the order of FIELDS."""
    return [event.event_id, event.user_id, event.post_id, event.action, write_microsecond(event.at)]


def decode_event(entry: Mapping[bytes, bytes]) -> Event:
    """Read an entry; raise CodecError when it is none."""
    try:
        event_id, user_id, post_id, action, at = (entry[name.encode()].decode() for name in FIELDS)
        return Event(event_id, user_id, post_id, action, read_microsecond(at))
    except (KeyError, ValueError) as error:
        msg = f"{dict(entry)!r:.200} is no event of the stream; one has {', '.join(FIELDS)}"
        raise CodecError(msg) from error
