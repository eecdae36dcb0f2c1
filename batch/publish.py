"""Publishes slates as one generation: encodes them and hands them to slates.generations, which knows Redis."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from redis import Redis

from batch.slate import ActedOn, Chunk
from batch.tables import Ints, Posts, Tables
from slates.bucket import bucket_name
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, encode_slate
from slates.generations import retire
from slates.keys import Keys, escape_id
from slates.writer import Row

_USERS = 4096
"""Users at once, to bound memory."""


@dataclass(frozen=True)
class Shared:
    """Slates that belong to no single user: post indices, the same for every bucket."""

    popular: Ints
    by_segment: Sequence[Ints]
    segment_names: Sequence[str]
    segment_of_user: Ints


def acted_in_shared(acted: ActedOn, shared: Shared, n_posts: int) -> ActedOn:
    """Return of each user's posts those that are in the popular slate or in that of the user's segment."""
    is_in = np.zeros((len(shared.by_segment) + 1, n_posts), dtype=bool)  # segment -1 is the last row: popular alone
    is_in[:, shared.popular] = True
    for segment, slate in enumerate(shared.by_segment):
        is_in[segment, slate] = True
    counts, posts = [acted.begin[:1]], [acted.post[:0]]
    for first in range(0, len(shared.segment_of_user), _USERS):
        begin = acted.begin[first : first + _USERS + 1]
        user = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
        post = acted.post[begin[0] : begin[-1]]
        kept = is_in[shared.segment_of_user[first + user], post]
        counts.append(np.bincount(user[kept], minlength=len(begin) - 1))
        posts.append(post[kept])
    return ActedOn(np.cumsum(np.concatenate(counts)), np.concatenate(posts))


def user_rows(
    chunk: Chunk, tables: Tables, shared: Shared, acted: ActedOn, names: Sequence[str], encode: "SlateEncoder"
) -> Iterator[Row]:
    """Yield the Redis hash of each user of a chunk: bucket name → slate, the segment, and the posts of `acted`."""
    for user, slates in enumerate(encode.chunk(chunk.posts), start=chunk.begin):
        fields: dict[str, str | bytes] = dict(zip(names, slates, strict=True))
        segment = int(shared.segment_of_user[user])
        if segment >= 0:
            fields[SEGMENT_FIELD] = shared.segment_names[segment]
        posts = acted.post[acted.begin[user] : acted.begin[user + 1]]
        if len(posts):
            fields[ACTED_FIELD] = encode.slate(posts)
        yield encode.user_key(str(tables.users.ids[user])), fields


class SlateEncoder:
    """Encodes slates in bulk: every post id is escaped once."""

    def __init__(self, keys: Keys, generation: str, posts: Posts) -> None:
        self._keys = keys
        self._generation = generation
        self._words = np.array([escape_id(str(post_id)).encode() for post_id in posts.ids], dtype=object)

    def user_key(self, user_id: str) -> str:
        """Name the hash of a user."""
        return self._keys.user(self._generation, user_id)

    def chunk(self, posts: NDArray[np.int32]) -> Iterator[list[bytes]]:
        """Yield for each user the encoded slates, one a bucket; `posts` as in Chunk."""
        for of_user in posts:
            short = of_user.min(initial=0) < 0
            rows = [row[row >= 0] for row in of_user] if short else of_user
            yield [self.slate(row) for row in rows]

    def slate(self, posts: NDArray[np.integer]) -> bytes:
        """Encode one slate, of indices of posts."""
        return b" ".join(self._words[posts].tolist())


def shared_rows(keys: Keys, generation: str, posts: Posts, shared: Shared, names: Sequence[str]) -> Iterator[Row]:
    """Yield the hashes of the popular and the segments' slates."""

    def fields(slate: Ints) -> dict[str, str | bytes]:
        return dict.fromkeys(names, encode_slate(str(posts.ids[post]) for post in slate))

    yield keys.popular(generation), fields(shared.popular)
    for name, slate in zip(shared.segment_names, shared.by_segment, strict=True):
        yield keys.segment(generation, name), fields(slate)


def post_rows(keys: Keys, posts: Posts, wanted: Ints) -> Iterator[Row]:
    """Yield the hash of each wanted post: text and topic, "" where unknown."""
    for post in wanted:
        yield keys.post(str(posts.ids[post])), {"text": posts.text[post], "topic": posts.topic[post]}


def bucket_names(first_bucket: int, hours: int) -> list[str]:
    """Name the buckets of a run."""
    return [bucket_name(bucket) for bucket in range(first_bucket, first_bucket + hours)]


def unlink_old(
    redis: Redis, keys: Keys, keep: int, tables: Tables, shared: Shared, batch: int, run: int | None = None
) -> list[str]:
    """Unlink generations that are beyond those to keep; return their ids. `run` as in slates.generations.retire."""
    user_ids = map(str, tables.users.ids)  # looked at only where a generation has to go
    return retire(redis, keys, keep=keep, user_ids=user_ids, segments=shared.segment_names, batch=batch, run=run)
