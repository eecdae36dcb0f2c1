"""The look-up: from a user and a bucket to a feed, down a ladder that ends only when nothing at all is known."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, TypeVar

from redis import Redis

from slates.blocked import BlockedPosts
from slates.circuit import REDIS_AWAY, Circuit
from slates.errors import CodecError
from slates.feed import Feed, NoFeedError, Rung, Similar
from slates.keys import Keys
from slates.manifest import Manifest
from slates.reading import Now, OfUser, decode, read_of_user, read_pointer, read_with_now
from slates.resp import command
from slates.view import Kept, Slates, View, closest_bucket, load_segment, load_view
from slates.wire import Wire

__all__ = ["Feed", "Lookup", "NoFeedError", "Rung", "Similar"]

_AWAY = "Redis is away"
_NONE_LIVE = "no generation is live yet; run `hourfeed batch`"

_MEMORY: Rung = "memory"

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    """The rung of the ladder that held, and what is known of its user."""

    rung: Rung
    slate: list[str]
    bucket: int
    manifest: Manifest
    segment: str | None
    acted: frozenset[str]
    blocked: frozenset[str]


class Lookup:
    """Finds feeds; any number of threads may share one.

    A look-up of a user is one round trip: the slate, what the user has acted on since, the live generation's id, and
    the mark of the posts that are taken down. `on_view` is called with every view that is loaded, before it serves;
    `on_cold`, once at most, for what an earlier process kept, where there is neither Redis nor a view. `wire` is what
    another look-up of the same Redis asks by, for one that shares its connections.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        clock: Callable[[], float] = time.monotonic,
        *,
        circuit: Circuit | None = None,
        on_view: Callable[[View], None] | None = None,
        on_cold: Callable[[], Kept | None] = lambda: None,
        wire: Wire | None = None,
    ) -> None:
        self._redis = redis
        self.wire = wire or Wire(redis)
        self._keys = keys
        self._circuit = circuit or Circuit(clock=clock)
        self._on_view = on_view
        self._blocked = BlockedPosts(redis, keys)
        self._loading = threading.Lock()
        self._view: View | None = None
        self._on_cold: Callable[[], Kept | None] | None = on_cold
        self._kept: View | None = None
        self._warming = threading.Lock()
        self.on_experiment: Callable[[bytes | None], None] = lambda _value: None
        """Called with what each look-up of a user says of the experiment that runs."""

    def feed(self, user_id: str, bucket: int, limit: int) -> Feed:
        """Return up to `limit` posts for a user in a bucket; raise NoFeedError when nothing is known to answer with."""
        return self._answer(bucket, limit, lambda view: self._climb_down(view, user_id, bucket))

    def popular(self, bucket: int, limit: int) -> Feed:
        """Return up to `limit` posts that everybody gets in a bucket; raise NoFeedError likewise."""

        def look(view: View) -> tuple[_Found, str | None]:
            now, _ = read_with_now(self.wire, self._keys)
            return _popular(view, bucket, None, frozenset(), self._blocked.at(now.mark)), now.live

        return self._answer(bucket, limit, look)

    def similar(self, post_id: str, limit: int) -> Similar | None:
        """Return up to `limit` posts like one; None for a post that the live generation does not know.

        Raises NoFeedError when no generation is live, or Redis is away.
        """

        def look(view: View) -> tuple[list[str] | None, str | None]:
            key = self._keys.similar(view.manifest.id, post_id)
            now, (value,) = read_with_now(self.wire, self._keys, (key, command(b"GET", key.encode()), 1))
            blocked = self._blocked.at(now.mark)
            return None if value is None or post_id in blocked else _without(blocked, decode(value, key)), now.live

        found = self._through(lambda: self._in_live(look))
        if found is None:
            raise NoFeedError(_NONE_LIVE)
        view, post_ids = found
        return None if post_ids is None else Similar(post_ids[:limit], view.manifest.id, view.manifest.as_of)

    def blocked(self) -> frozenset[str]:
        """Return the posts that are taken down; while Redis is away, those that were when it was last seen."""
        try:
            return self._through(lambda: self._blocked.at(read_with_now(self.wire, self._keys)[0].mark))
        except NoFeedError:
            return self._blocked.latest

    def answers_strangers(self) -> bool:
        """Say whether the generation that serves has a popular slate, for users of whom nothing is known."""
        return self._view is not None and bool(self._view.popular)

    def manifest(self) -> Manifest:
        """Return the manifest of the generation that serves, asking Redis only when none does; or raise NoFeedError."""
        view = self._view
        if view is not None:
            return view.manifest
        try:
            return self.refresh()
        except NoFeedError:
            found = self.without_redis()
            if found is None:
                raise
            return found[0].manifest

    def without_redis(self) -> tuple[View, Rung] | None:
        """Return what answers while Redis is away: the view in memory, or that of an earlier process; None for none."""
        view, rung = self._view, _MEMORY
        if view is None:
            view, rung = self._kept_view(), "disk"
        return (view, rung) if view is not None and view.popular else None

    def watch(self) -> View | None:
        """Refresh, in a thread that keeps doing so, and so spares requests to try a Redis that is away.

        Returns the view that serves; raises as `refresh` does.
        """
        self._circuit.watch()
        self.refresh()
        return self._view

    def refresh(self) -> Manifest:
        """Ask Redis which generation is live now, and return its manifest; raise NoFeedError when none can be seen."""
        view = self._through(lambda: self._follow(read_pointer(self.wire, self._keys)))
        if view is None:
            raise NoFeedError(_NONE_LIVE)
        return view.manifest

    def _answer(self, bucket: int, limit: int, look: Callable[[View], tuple[_Found, str | None]]) -> Feed:
        """Compose a feed of what `look` finds in the live generation, or of what is in memory while Redis is away."""

        def compose() -> Feed | None:
            found = self._in_live(look)
            return None if found is None else self._compose(*found, limit)

        try:
            feed = self._through(compose)
        except NoFeedError as error:
            return self._from_memory(bucket, limit, str(error))
        if feed is None:
            return self._from_memory(bucket, limit, _NONE_LIVE)
        if not feed.post_ids and not self.answers_strangers():
            msg = f"generation {feed.generation} is live, but empty; run `hourfeed batch` or `hourfeed rollback`"
            raise NoFeedError(msg)
        return feed

    def _through(self, ask: Callable[[], _T]) -> _T:
        """Return what `ask` returns; raise NoFeedError where Redis is away, or was so a moment ago."""
        if not self._circuit.lets_through():
            raise NoFeedError(_AWAY)
        try:
            answer = ask()
        except REDIS_AWAY as error:
            self._circuit.failed()
            _log.warning("Redis is away: %s", error)
            raise NoFeedError(_AWAY) from error
        self._circuit.worked()
        return answer

    def _in_live(self, look: Callable[[View], tuple[_T, str | None]]) -> tuple[View, _T] | None:
        """Return the live generation's view and what `look` finds in it; None when none is live.

        `look` says, too, which generation is live by then (None: none is); if another one, it looks there once more.
        """
        view = self._view or self._follow(read_pointer(self.wire, self._keys))
        for is_last in (False, True):
            if view is None:
                return None
            found, live = look(view)
            newer = view if live == view.manifest.id else self._follow(live)
            if is_last or newer is view:
                return view, found
            view = newer
        return None

    def _climb_down(self, view: View, user_id: str, bucket: int) -> tuple[_Found, str | None]:
        """Return the first rung that holds, and the id of the generation that is live by then (None: none is)."""
        live = view.manifest
        used = closest_bucket(bucket, live)
        now, own = self._of_user(live, view.posts, user_id, used)
        blocked = self._blocked.at(now.mark)
        slate = _without(blocked, _without(own.acted, own.slate))
        if slate:
            rung: Rung = "exact" if used == bucket else "same_hour"
            return _Found(rung, slate, used, live, own.segment, own.acted, blocked), now.live

        # Perhaps no slate was made for this user, perhaps the generation went away since its id was read.
        before = view.previous
        if before is None:
            earlier = OfUser([], None, frozenset())
            now = Now(read_pointer(self.wire, self._keys), now.mark)
        else:
            used_before = closest_bucket(bucket, before)
            now, earlier = self._of_user(before, view.posts_before, user_id, used_before)
        segment, acted = own.segment or earlier.segment, own.acted | earlier.acted
        hidden = acted | blocked
        slate = _without(hidden, earlier.slate)
        if before is not None and slate:
            return _Found("previous", slate, used_before, before, segment, acted, blocked), now.live
        slate = _without(hidden, self._segment_slates(view, segment).get(used, []))
        if slate:
            return _Found("segment", slate, used, live, segment, acted, blocked), now.live
        return _popular(view, bucket, segment, acted, blocked), now.live

    def _of_user(self, manifest: Manifest, posts: Sequence[str], user_id: str, bucket: int) -> tuple[Now, OfUser]:
        now, of_user = read_of_user(self.wire, self._keys, manifest, posts, user_id, bucket)
        self.on_experiment(now.experiment)
        return now, of_user

    def _follow(self, live: str | None) -> View | None:
        """Return the view of the live generation, loading it when it is new; the old one while another thread does."""
        old = self._view
        if live is None or not self._loading.acquire(blocking=old is None):
            return None if live is None else old
        try:
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
            newer = read_pointer(self.wire, self._keys)
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
        left = self.without_redis()
        if left is None:
            raise NoFeedError(why_not)
        view, rung = left
        found = _popular(view, bucket, None, frozenset(), self._blocked.latest)
        return _cut(view, found._replace(rung=rung), limit)

    def _kept_view(self) -> View | None:
        """Return what an earlier process kept, which is read once."""
        with self._warming:
            if self._on_cold is not None:
                kept = self._on_cold()
                self._on_cold = None
                if kept is not None:
                    self._kept = kept.view
                    self._blocked.assume(kept.blocked)
            return self._kept


def _without(hidden: Collection[str], slate: list[str]) -> list[str]:
    return [post_id for post_id in slate if post_id not in hidden] if hidden else slate


def _popular(view: View, bucket: int, segment: str | None, acted: frozenset[str], blocked: frozenset[str]) -> _Found:
    slate, used = view.popular_near(closest_bucket(bucket, view.manifest))
    return _Found("popular", slate, used, view.manifest, segment, acted, blocked)


def _cut(view: View, found: _Found, limit: int) -> Feed:
    home = closest_bucket(found.bucket, view.manifest)
    post_ids: Iterator[str] = view.ids_from(found.slate, home, found.segment, found.acted, found.blocked)
    first = found.slate[:limit]
    if found.rung in {"exact", "same_hour"} and len(set(first)) == limit:  # as nearly always: nothing is left to fill
        post_ids = itertools.islice(post_ids, limit, None)
    else:
        first = list(itertools.islice(post_ids, limit))
    of_segment = view.segments.get(found.segment or "", {}).get(home, ())
    return Feed(
        first,
        found.rung,
        found.bucket,
        found.manifest.id,
        found.manifest.as_of,
        found.slate,
        post_ids,
        found.segment,
        of_segment,
    )
