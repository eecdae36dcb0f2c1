"""Puts small generations, written out by hand, into a Redis for the tests of what reads them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis

from slates import packed
from slates.bucket import bucket_field, bucket_start, parse_bucket
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, encode_slate
from slates.keys import Keys
from slates.manifest import Manifest

FIRST = parse_bucket("2021-12-20T00")
"""The first of the 24 buckets of a generation, unless a test says otherwise."""

Slates = Mapping[int, str]
"""Hour after FIRST → post ids with spaces between."""


@dataclass(frozen=True)
class Generation:
    """A generation as a test writes it."""

    id: str = "g1"
    first: int = FIRST
    hours: int = 24
    users: Mapping[str, Slates] = field(default_factory=dict)
    user_segments: Mapping[str, str] = field(default_factory=dict)
    user_acted: Mapping[str, str] = field(default_factory=dict)
    segments: Mapping[str, Slates] = field(default_factory=dict)
    popular: Slates = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def publish(self, redis: Redis, keys: Keys | None = None, *, live: bool = True) -> None:
        """Write it, and make it live."""
        keys = keys or Keys()
        _put(redis, keys.generation(self.id), manifest_of(self).to_hash())
        for user_id in self._user_ids():
            _write(redis, keys.user(self.id, user_id), self.users.get(user_id, {}))
            _put(redis, keys.user(self.id, user_id), self._beside(user_id))
        for segment, slates in self.segments.items():
            _write(redis, keys.segment(self.id, segment), slates)
        _write(redis, keys.popular(self.id), self.popular)
        redis.zadd(keys.generations, {self.id: 1.0})
        if live:
            redis.set(keys.current, self.id)

    def unlink(self, redis: Redis, keys: Keys | None = None) -> None:
        """Remove all of it, but not the pointer."""
        keys = keys or Keys()
        redis.delete(
            keys.generation(self.id),
            keys.popular(self.id),
            *(keys.user(self.id, user_id) for user_id in self._user_ids()),
            *(keys.segment(self.id, segment) for segment in self.segments),
        )

    def _user_ids(self) -> set[str]:
        return {*self.users, *self.user_segments, *self.user_acted}

    def _beside(self, user_id: str) -> dict[str, str]:
        """Return the fields of a user's hash that are no buckets."""
        found = {SEGMENT_FIELD: self.user_segments.get(user_id), ACTED_FIELD: self.user_acted.get(user_id)}
        return {name: value for name, value in found.items() if value is not None}


def put_packed(redis: Redis, generation: Generation, posts: Sequence[str]) -> None:
    """Write a generation by the codec `packed`, and make it live; `posts` is its list of posts."""
    keys, number = Keys(), {post_id: place for place, post_id in enumerate(posts)}
    generation = replace(generation, manifest={**generation.manifest, "codec": "packed", "posts": len(posts)})
    replace(generation, users={}, user_segments={}, user_acted={}).publish(redis, keys)
    layout = packed.Layout.of(manifest_of(generation))
    for user_id in {*generation.users, *generation.user_segments, *generation.user_acted}:
        slates = generation.users.get(user_id, {})
        numbers = [[number[post] for post in slates.get(hour, "").split()] for hour in range(generation.hours)]
        acted = [number[post] for post in generation.user_acted.get(user_id, "").split()]
        value = layout.pack(numbers, acted, generation.user_segments.get(user_id, ""))
        redis.set(keys.user(generation.id, user_id), value)
    redis.set(keys.posts(generation.id), encode_slate(posts))


def manifest_of(generation: Generation) -> Manifest:
    """Return a manifest with all that matters to a reader."""
    known: dict[str, Any] = {
        "id": generation.id,
        "seq": 1,
        "state": "live",
        "as_of": bucket_start(generation.first),
        "started_at": bucket_start(generation.first) + timedelta(minutes=5),
        "built_at": datetime(2021, 12, 20, 0, 6, tzinfo=UTC),
        "first_bucket": generation.first,
        "last_bucket": generation.first + generation.hours - 1,
        "users": len(generation.users),
        "posts": 0,
        "slates": sum(map(len, generation.users.values())),
        "segments": len(generation.segments),
        "shards": 1,
        "top_n": 20,
        "slate_bytes": 0,
        "codec": "ids",
        "ranker": "popular_24h",
        "user_id_type": "integer",
        "post_id_type": "integer",
    }
    return Manifest(**(known | dict(generation.manifest)))


def put_posts(redis: Redis, post_ids: Iterable[str], keys: Keys | None = None) -> None:
    """Write posts whose text is `text of ID` and whose topic is `topic of ID`."""
    for post_id in post_ids:
        fields = {"text": f"text of {post_id}", "topic": f"topic of {post_id}", "extra": "1"}
        _put(redis, (keys or Keys()).post(post_id), fields)


def _write(redis: Redis, key: str, slates: Slates) -> None:
    _put(redis, key, {bucket_field(FIRST + hour): encode_slate(ids.split()) for hour, ids in slates.items()})


def _put(redis: Redis, key: str, fields: Mapping[str, Any]) -> None:
    if fields:
        redis.hset(key, items=[part for pair in fields.items() for part in pair])
