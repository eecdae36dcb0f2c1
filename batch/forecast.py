"""What a run will take in Redis, from what it has read: for `hourfeed plan`, and before a run begins its work."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from redis import Redis

from batch.settings import BatchSettings
from batch.tables import Tables
from slates.forecast import Sizes, generation_bytes, posts_bytes
from slates.keys import Keys, escape_id
from slates.room import read_store, refuse_without_room

_SAMPLE = 10_000


def sizes_of(settings: BatchSettings, tables: Tables, segments: Sequence[str]) -> Sizes:
    """Return the sizes of a generation; lengths of ids and names are means of up to 10,000 of each."""
    return Sizes(
        users=len(tables.users.ids),
        hours=settings.hours,
        top_n=settings.top_n,
        codec=settings.codec,
        post_id_bytes=_mean_bytes(tables.posts.ids),
        user_id_bytes=_mean_bytes(tables.users.ids),
        posts=len(tables.posts.ids),
        segments=len(segments),
        segment_bytes=_mean_bytes(segments),
        key_bytes=len(Keys(settings.prefix).user("20211220T150000-100", "")),
    )


def refuse_to_fill_redis(
    settings: BatchSettings, redis: Redis, keys: Keys, tables: Tables, segments: Sequence[str]
) -> None:
    """Raise NoRoomError where Redis lacks the room for the generations that are kept, or would evict them."""
    sizes, store = sizes_of(settings, tables, segments), read_store(redis)
    texts = [len(f"{text}{topic}".encode()) for text, topic in zip(*_sampled_texts(tables), strict=True)]
    of_posts = posts_bytes(sizes.posts, sum(texts) / max(len(texts), 1), sizes.post_id_bytes, store)
    of_generation = generation_bytes(sizes, store)
    refuse_without_room(redis, keys, of_generation=of_generation, of_posts=of_posts, keep=settings.keep_generations)


def _sampled_texts(tables: Tables) -> tuple[Any, Any]:
    step = _step(len(tables.posts.text))
    return tables.posts.text[::step], tables.posts.topic[::step]


def _mean_bytes(words: Any) -> float:
    sample = [len(escape_id(str(word))) for word in words[:: _step(len(words))]]
    return float(np.mean(sample)) if sample else 0.0


def _step(count: int) -> int:
    return max(1, count // _SAMPLE)
