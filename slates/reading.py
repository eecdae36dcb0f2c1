"""What a look-up reads: one round trip, which tells the live generation and the mark of the blocked set too."""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from slates import packed
from slates.bucket import bucket_field
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, decode_slate
from slates.errors import CodecError
from slates.keys import Keys
from slates.manifest import Manifest
from slates.resp import bulk, command
from slates.seen import read_seen, read_seen_command
from slates.wire import Ready, Wire

_TRIES = 2
"""On a cluster: once more where a slot has moved, but no request waits for a node that is being replaced."""

_log = logging.getLogger(__name__)


class Now(NamedTuple):
    """The id of the live generation, the mark of the blocked set, the experiment that runs; None: there is none."""

    live: str | None
    mark: bytes | None
    experiment: bytes | None = None


class OfUser(NamedTuple):
    """What is there of one user in one generation for one bucket.

    `acted` is what the user is not to be shown: by the generation, and since.
    """

    slate: list[str]
    segment: str | None
    acted: frozenset[str]


def read_with_now(wire: Wire, keys: Keys, *more: Ready) -> tuple[Now, list[Any]]:
    """Return how things stand, and the last reply for each of `more`."""
    (live, mark, experiment), *replies = wire.ask([_ask_now(keys), *more], tries=_TRIES)
    return Now(text(live), mark, experiment), replies


@functools.cache
def _ask_now(keys: Keys) -> Ready:
    names = (keys.current, keys.blocked_mark, keys.experiment)
    return keys.current, command(b"MGET", *map(str.encode, names)), 1


def read_of_user(
    wire: Wire, keys: Keys, manifest: Manifest, posts: Sequence[str], user_id: str, bucket: int
) -> tuple[Now, OfUser]:
    """Read what is there of a user for a bucket; `posts` is what the numbers of a packed generation count in."""
    key, seen_key = keys.user(manifest.id, user_id), keys.seen(user_id)
    is_packed = manifest.codec == packed.CODEC
    asked = command(b"GET", key.encode()) if is_packed else _ask_hash(key, bucket)
    now, (found, seen) = read_with_now(wire, keys, (key, asked, 1), (seen_key, read_seen_command(seen_key), 1))
    if is_packed:
        slate, acted, segment = _unpack(found, manifest, posts, bucket, key)
    else:
        slate, acted, segment = decode(found[0], key), decode(found[2], key), text(found[1])
    return now, OfUser(slate, segment, read_seen(seen).union(acted))


def _ask_hash(key: str, bucket: int) -> bytes:
    return b"*5\r\n$5\r\nHMGET\r\n%b%b" % (bulk(key.encode()), _fields(bucket))


@functools.lru_cache(maxsize=1_024)
def _fields(bucket: int) -> bytes:
    return b"".join(map(bulk, (bucket_field(bucket).encode(), SEGMENT_FIELD.encode(), ACTED_FIELD.encode())))


def read_pointer(wire: Wire, keys: Keys) -> str | None:
    """Return the id of the live generation, None where none is."""
    return text(cast("bytes | None", wire.redis.get(keys.current)))


def text(value: bytes | None) -> str | None:
    """Return a value as text, None where it is absent or empty."""
    return value.decode("utf-8", "replace") if value else None


def decode(slate: bytes | None, key: str) -> list[str]:
    """Read a slate, or what is encoded like one; a broken one counts as empty, so that its user gets no error."""
    try:
        return decode_slate(slate) if slate else []
    except CodecError as error:
        _log.warning("a slate in %s is passed over: %s", key, error)
        return []


def _unpack(value: bytes | None, manifest: Manifest, posts: Sequence[str], bucket: int, key: str) -> packed.Unpacked:
    """Read a user's packed slates; a broken string counts as absent, so that its user gets no error."""
    if value is not None:
        try:
            return packed.Layout.of(manifest).unpack(value, bucket - manifest.first_bucket, posts)
        except CodecError as error:
            _log.warning("the slates in %s are passed over: %s", key, error)
    return packed.Unpacked([], [], None)
