"""A view: what one process keeps of a generation, to answer when a user's slate is missing or Redis is away."""

import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from redis import Redis

from slates import packed
from slates.bucket import nearest_same_hour, parse_field
from slates.codec import decode_slate
from slates.errors import CodecError
from slates.keys import Keys
from slates.manifest import Manifest
from slates.whole import read_list_of_posts

Slates = Mapping[int, list[str]]
"""Bucket → post ids, best first."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """A generation's manifest and shared slates; the segments' are added when first asked for.

    `posts` and `posts_before` are what the numbers of packed slates count in, of this generation and of the previous.
    """

    manifest: Manifest
    popular: Slates
    previous: Manifest | None
    posts: Sequence[str] = ()
    posts_before: Sequence[str] = ()
    segments: dict[str, Slates] = field(default_factory=dict)

    def ids_from(
        self,
        slate: list[str],
        bucket: int,
        segment: str | None,
        acted: Collection[str],
        blocked: Collection[str] = frozenset(),
    ) -> Iterator[str]:
        """Yield the ids of `slate`, the segment's and the popular ones of `bucket`, then of the buckets nearest to it.

        No id comes twice, and none of `acted` or `blocked`.
        """
        seen = set(acted)
        for source in self._sources(slate, bucket, segment):
            for post_id in source:
                if post_id not in seen and post_id not in blocked:
                    seen.add(post_id)
                    yield post_id

    def popular_near(self, bucket: int) -> tuple[list[str], int]:
        """Return the popular slate nearest to `bucket`, and its bucket; an empty one where there is none at all."""
        slate = self.popular.get(bucket)
        if slate:
            return slate, bucket
        nearest = min(self.popular, key=lambda other: (abs(other - bucket), other), default=bucket)
        return self.popular.get(nearest, []), nearest

    def _sources(self, slate: list[str], bucket: int, segment: str | None) -> Iterator[list[str]]:
        yield slate
        yield self.segments.get(segment or "", {}).get(bucket, [])
        for other in sorted(self.popular, key=lambda other: (abs(other - bucket), other)):
            yield self.popular[other]


class Kept(NamedTuple):
    """What an earlier process has kept for a start while Redis is away: a view, and the posts that were taken down."""

    view: View
    blocked: frozenset[str]


def load_view(redis: Redis, keys: Keys, generation: str, older: View | None = None) -> View | None:
    """Read a generation's view in a few round trips; None when Redis does not hold it (any more).

    `older` is the view so far: lists of posts that it knows are not read again. Raises CodecError when the manifest
    or the list of posts cannot be read.
    """
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(keys.generation(generation))
        pipeline.hgetall(keys.popular(generation))
        raw, popular = pipeline.execute()
    if not raw:
        return None
    manifest = Manifest.from_hash(raw)
    previous = _load_previous(redis, keys, manifest)
    posts = _posts_of(redis, keys, manifest, older)
    try:
        posts_before = _posts_of(redis, keys, previous, older)
    except CodecError as error:
        _log.warning("the previous generation is passed over: %s", error)
        previous, posts_before = None, ()
    return View(manifest, read_slates(popular), previous, posts, posts_before)


def _posts_of(redis: Redis, keys: Keys, manifest: Manifest | None, older: View | None) -> Sequence[str]:
    """Return the posts that a packed generation's numbers stand for; () where its slates hold ids."""
    if manifest is None or manifest.codec != packed.CODEC:
        return ()
    if older is not None and older.manifest.id == manifest.id:
        return older.posts
    if older is not None and older.previous is not None and older.previous.id == manifest.id:
        return older.posts_before
    return read_list_of_posts(redis, keys, manifest)


def load_segment(redis: Redis, keys: Keys, generation: str, segment: str) -> Slates:
    """Read a segment's slates; empty when Redis holds none."""
    return read_slates(cast("dict[bytes, bytes]", redis.hgetall(keys.segment(generation, segment))))


def read_slates(raw: Mapping[bytes, bytes]) -> Slates:
    """Read a hash bucket → slate, passing over (and logging) what is neither, and slates of no post."""
    slates = {}
    for name, value in raw.items():
        try:
            post_ids = decode_slate(value)
            if post_ids:
                slates[parse_field(name.decode("utf-8", "replace"))] = post_ids
        except CodecError as error:
            _log.warning("a shared slate is passed over: %s", error)
    return slates


def closest_bucket(bucket: int, manifest: Manifest) -> int:
    """Return the bucket of a generation that answers best for `bucket`: itself, or the nearest of the same hour."""
    return nearest_same_hour(bucket, manifest.first_bucket, manifest.last_bucket)


def popular_ids(view: View, most: int) -> list[str]:
    """Return up to `most` different ids of the popular slates."""
    return list(itertools.islice(dict.fromkeys(itertools.chain.from_iterable(view.popular.values())), most))


def _load_previous(redis: Redis, keys: Keys, manifest: Manifest) -> Manifest | None:
    """Read the manifest of the generation before; None when it is gone, unreadable, or was rolled back for a reason."""
    if not manifest.previous:
        return None
    raw = cast("dict[bytes, bytes]", redis.hgetall(keys.generation(manifest.previous)))
    try:
        previous = Manifest.from_hash(raw) if raw else None
    except CodecError as error:
        _log.warning("the previous generation is passed over: %s", error)
        return None
    return previous if previous is not None and previous.state == "superseded" else None
