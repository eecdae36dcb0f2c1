"""What a run will take in Redis, from the counts of what it reads: for `hourfeed plan`, and before a run's work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from redis import Redis

from batch.settings import BatchSettings
from batch.tables import Tables
from slates.forecast import Sizes, generation_bytes, posts_bytes
from slates.keys import Keys, escape_id
from slates.room import read_store, refuse_without_room

_SAMPLE = 10_000
_MET_IN_SHARED = 1.5
"""Posts of the two shared slates that a user's feed is filled from, in lengths of one: they have many in common."""


@dataclass(frozen=True)
class Counts:
    """What a run reads: rows, and mean bytes of an id, as escaped, and of a post's text and topic."""

    users: int
    posts: int
    events: int
    user_id_bytes: float
    post_id_bytes: float
    text_bytes: float


def counts_of(tables: Tables) -> Counts:
    """Return the counts of what was read; lengths are means of up to 10,000 of each."""
    step = _step(len(tables.posts.text))
    texts = zip(tables.posts.text[::step], tables.posts.topic[::step], strict=True)
    lengths = [len(f"{text}{topic}".encode()) for text, topic in texts]
    return Counts(
        users=len(tables.users.ids),
        posts=len(tables.posts.ids),
        events=len(tables.events.at_s),
        user_id_bytes=_mean_bytes(tables.users.ids),
        post_id_bytes=_mean_bytes(tables.posts.ids),
        text_bytes=float(np.mean(lengths)) if lengths else 0.0,
    )


def sizes_of(settings: BatchSettings, counts: Counts, segments: int, segment_bytes: float) -> Sizes:
    """Return the sizes of a generation; segment_bytes : the mean length of a segment's name.

    What a user has touched of the shared slates is taken to be the share that the user has touched of all posts.
    """
    touched = min(1.0, counts.events / max(1, counts.users * counts.posts))
    sizes = Sizes(
        users=counts.users,
        hours=settings.hours,
        top_n=settings.top_n,
        codec=settings.codec,
        post_id_bytes=counts.post_id_bytes,
        user_id_bytes=counts.user_id_bytes,
        posts=counts.posts,
        segments=segments,
        segment_bytes=segment_bytes,
        similar=settings.similar_posts,
        key_bytes=len(Keys(settings.prefix).user("20211220T150000-100", "")),
    )
    return replace(sizes, acted_posts=touched * _MET_IN_SHARED * min(sizes.shared_posts, counts.posts))


def refuse_to_fill_redis(
    settings: BatchSettings, redis: Redis, keys: Keys, tables: Tables, segments: Sequence[str]
) -> None:
    """Raise NoRoomError where Redis lacks the room for the generations that are kept, or would evict them."""
    counts, store = counts_of(tables), read_store(redis)
    sizes = sizes_of(settings, counts, len(segments), _mean_bytes(segments))
    of_posts = posts_bytes(counts.posts, counts.text_bytes, counts.post_id_bytes, store)
    of_generation = generation_bytes(sizes, store)
    refuse_without_room(redis, keys, of_generation=of_generation, of_posts=of_posts, keep=settings.keep_generations)


def _mean_bytes(words: Any) -> float:
    sample = [len(escape_id(str(word))) for word in words[:: _step(len(words))]]
    return float(np.mean(sample)) if sample else 0.0


def _step(count: int) -> int:
    return max(1, count // _SAMPLE)
