"""The look-up: from a user and a bucket to a feed, down a ladder that ends only when nothing at all is known."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, cast

from redis import Redis

from slates import packed
from slates.bucket import bucket_field
from slates.circuit import REDIS_AWAY, Circuit
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, decode_slate
from slates.errors import CodecError
from slates.feed import Feed, NoFeedError, Rung
from slates.keys import Keys
from slates.manifest import Manifest
from slates.resp import command
from slates.seen import read_seen, read_seen_command
from slates.view import Slates, View, closest_bucket, load_segment, load_view
from slates.wire import send

__all__ = ["Feed", "Lookup", "NoFeedError", "Rung"]

_AWAY = "Redis is away"
_NONE_LIVE = "no generation is live yet; run `hourfeed batch`"

_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    """The rung of the ladder that held, and what is known of its user."""

    rung: Rung
    slate: list[str]
    bucket: int
    manifest: Manifest
    segment: str | None
    acted: frozenset[str]


class _Answer(NamedTuple):
    """What Redis said of one user in one generation, and which generation is live (None: none is).

    `acted` is what the user is not to be shown: by the generation, and since.
    """

    slate: list[str]
    segment: str | None
    acted: frozenset[str]
    live: str | None


class Lookup:
    """Finds feeds; any number of threads may share one.

    A look-up reads the slate, and what the user has acted on since, in one round trip. The live generation's id is
    believed for `pointer_ttl_s`, after which it is read in that round trip too. `on_view` is called with every view
    that is loaded, before it serves.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        pointer_ttl_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        circuit: Circuit | None = None,
        on_view: Callable[[View], None] | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._pointer_ttl_s = pointer_ttl_s
        self._clock = clock
        self._circuit = circuit or Circuit(clock=clock)
        self._on_view = on_view
        self._loading = threading.Lock()
        self._view: View | None = None
        self._pointer_seen_at = float("-inf")

    def feed(self, user_id: str, bucket: int, limit: int) -> Feed:
        """Return up to `limit` posts for a user in a bucket; raise NoFeedError when nothing is known to answer with."""
        if not self._circuit.lets_through():
            return self._from_memory(bucket, limit, _AWAY)
        try:
            feed = self._from_redis(user_id, bucket, limit)
        except REDIS_AWAY as error:
            self._circuit.failed()
            _log.warning("Redis is away: %s", error)
            return self._from_memory(bucket, limit, _AWAY)
        self._circuit.worked()
        if feed is None:
            return self._from_memory(bucket, limit, _NONE_LIVE)
        if not feed.post_ids and not self.answers_strangers():
            msg = f"generation {feed.generation} is live, but empty; run `hourfeed batch` or `hourfeed rollback`"
            raise NoFeedError(msg)
        return feed

    def answers_strangers(self) -> bool:
        """Say whether the generation that serves has a popular slate, for users of whom nothing is known."""
        return self._view is not None and bool(self._view.popular)

    def manifest(self) -> Manifest:
        """Return the manifest of the generation that serves, asking Redis only when none does; or raise NoFeedError."""
        view = self._view
        return view.manifest if view is not None else self.refresh()

    def refresh(self) -> Manifest:
        """Ask Redis which generation is live now, and return its manifest; raise NoFeedError when none can be seen."""
        if not self._circuit.lets_through():
            raise NoFeedError(_AWAY)
        try:
            view = self._follow(self._ask_pointer())
        except REDIS_AWAY as error:
            self._circuit.failed()
            raise NoFeedError(_AWAY) from error
        self._circuit.worked()
        if view is None:
            raise NoFeedError(_NONE_LIVE)
        return view.manifest

    def _from_redis(self, user_id: str, bucket: int, limit: int) -> Feed | None:
        """Go down the ladder; when the live generation changed on the way, once more, in the new one."""
        view = self._view or self._follow(self._ask_pointer())
        for is_last in (False, True):
            if view is None:
                return None
            found, live = self._climb_down(view, user_id, bucket)
            newer = view if live == view.manifest.id else self._follow(live)
            if is_last or newer is view:
                return self._compose(view, found, limit)
            view = newer
        return None

    def _climb_down(self, view: View, user_id: str, bucket: int) -> tuple[_Found, str | None]:
        """Return the first rung that holds, and the id of the generation that is live by then (None: none is)."""
        live = view.manifest
        used = closest_bucket(bucket, live)
        pointer_is_due = self._clock() - self._pointer_seen_at >= self._pointer_ttl_s
        own = self._ask(live, view.posts, user_id, used, with_pointer=pointer_is_due)
        slate = _without(own.acted, own.slate)
        if slate:
            rung: Rung = "exact" if used == bucket else "same_hour"
            return _Found(rung, slate, used, live, own.segment, own.acted), own.live

        # Perhaps no slate was made for this user, perhaps the generation went away since its id was read.
        before = view.previous
        if before is None:
            earlier = _Answer([], None, frozenset(), self._ask_pointer())
        else:
            used_before = closest_bucket(bucket, before)
            earlier = self._ask(before, view.posts_before, user_id, used_before, with_pointer=True)
        segment, acted = own.segment or earlier.segment, own.acted | earlier.acted
        slate = _without(acted, earlier.slate)
        if before is not None and slate:
            return _Found("previous", slate, used_before, before, segment, acted), earlier.live
        slate = _without(acted, self._segment_slates(view, segment).get(used, []))
        if slate:
            return _Found("segment", slate, used, live, segment, acted), earlier.live
        return _popular(view, bucket, segment, acted), earlier.live

    def _ask(
        self, manifest: Manifest, posts: Sequence[str], user_id: str, bucket: int, *, with_pointer: bool
    ) -> _Answer:
        """Read what is there of a user for a bucket, and the live generation's id if wanted, in one round trip.

        `posts` is what the numbers of a packed generation count in.
        """
        key, seen_key = self._keys.user(manifest.id, user_id), self._keys.seen(user_id)
        is_packed = manifest.codec == packed.CODEC
        fields = (bucket_field(bucket), SEGMENT_FIELD, ACTED_FIELD)
        read = (b"GET", key.encode()) if is_packed else (b"HMGET", key.encode(), *map(str.encode, fields))
        asked = [(key, command(*read), 1), (seen_key, read_seen_command(seen_key), 1)]
        if with_pointer:
            asked.insert(0, (self._keys.current, command(b"GET", self._keys.current.encode()), 1))
        asked_at = self._clock()
        *pointer, found, seen = send(self._redis, asked)  # ready-made: half of the processor time of a pipeline
        live: str | None = manifest.id
        if pointer:
            live = _text(pointer[0])
            if self._view is not None and live == self._view.manifest.id:
                self._pointer_seen_at = asked_at
        slate, segment, acted = _unpack(found, manifest, posts, bucket, key) if is_packed else _read(found, key)
        return _Answer(slate, segment, read_seen(seen).union(acted), live)

    def _ask_pointer(self) -> str | None:
        return _text(cast("bytes | None", self._redis.get(self._keys.current)))

    def _follow(self, live: str | None) -> View | None:
        """Return the view of the live generation, loading it when it is new; the old one while another thread does."""
        old = self._view
        if live is None or not self._loading.acquire(blocking=old is None):
            return None if live is None else old
        try:
            self._pointer_seen_at = self._clock()
            if self._view is None or self._view.manifest.id != live:
                self._load(live)
        except CodecError as error:
            if old is None:
                raise
            _log.warning("generation %s is not followed: %s", live, error)
        finally:
            self._loading.release()
        return self._view

    def _load(self, live: str) -> None:
        view = load_view(self._redis, self._keys, live, self._view)
        if view is None:  # replaced and unlinked since its id was read, or expired
            newer = self._ask_pointer()
            view = load_view(self._redis, self._keys, newer, self._view) if newer not in (None, live) else None
        if view is None:
            _log.warning("generation %s is live, but its manifest is gone from Redis", live)
            return
        if self._on_view is not None:
            self._on_view(view)
        self._view = view

    def _segment_slates(self, view: View, segment: str | None) -> Slates:
        if segment is None:
            return {}
        if segment not in view.segments:
            view.segments[segment] = load_segment(self._redis, self._keys, view.manifest.id, segment)
        return view.segments[segment]

    def _compose(self, view: View, found: _Found, limit: int) -> Feed:
        if len(found.slate) < limit:
            self._segment_slates(view, found.segment)
        return _cut(view, found, limit)

    def _from_memory(self, bucket: int, limit: int, why_not: str) -> Feed:
        view = self._view
        if view is None or not view.popular:
            raise NoFeedError(why_not)
        return _cut(view, _popular(view, bucket, None, frozenset())._replace(rung="memory"), limit)


def _read(values: list[bytes | None], key: str) -> tuple[list[str], str | None, list[str]]:
    slate, segment, acted = values
    return _decode(slate, key), _text(segment), _decode(acted, key)


def _unpack(
    value: bytes | None, manifest: Manifest, posts: Sequence[str], bucket: int, key: str
) -> tuple[list[str], str | None, list[str]]:
    """Read a user's packed slates; a broken string counts as absent, so that its user gets no error."""
    unpacked = packed.Unpacked([], [], None)
    if value is not None:
        try:
            unpacked = packed.Layout.of(manifest).unpack(value, bucket - manifest.first_bucket, posts)
        except CodecError as error:
            _log.warning("the slates in %s are passed over: %s", key, error)
    return unpacked.slate, unpacked.segment, unpacked.acted


def _without(acted: Collection[str], slate: list[str]) -> list[str]:
    if not acted:
        return slate
    return [post_id for post_id in slate if post_id not in acted]


def _popular(view: View, bucket: int, segment: str | None, acted: frozenset[str]) -> _Found:
    slate, used = view.popular_near(closest_bucket(bucket, view.manifest))
    return _Found("popular", slate, used, view.manifest, segment, acted)


def _cut(view: View, found: _Found, limit: int) -> Feed:
    home = closest_bucket(found.bucket, view.manifest)
    post_ids = view.ids_from(found.slate, home, found.segment, found.acted)
    first = list(itertools.islice(post_ids, limit))
    return Feed(first, found.rung, found.bucket, found.manifest.id, found.manifest.as_of, found.slate, post_ids)


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if value else None


def _decode(slate: bytes | None, key: str) -> list[str]:
    """Read a slate, or what is encoded like one; a broken one counts as empty, so that its user gets no error."""
    try:
        return decode_slate(slate) if slate else []
    except CodecError as error:
        _log.warning("a slate in %s is passed over: %s", key, error)
        return []
