"""Publishes slates as one generation: encodes them and hands them to slates.generations, which knows Redis."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from redis import Redis

from batch.encode import UserEncoder
from batch.slate import ActedOn, Chunk
from batch.tables import Ints, Posts, Tables, Users
from slates.bucket import bucket_field
from slates.codec import encode_slate
from slates.entry import Entry, Row
from slates.generations import retire
from slates.keys import Keys

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


def user_entries(
    chunk: Chunk, users: Users, shared: Shared, acted: ActedOn, key_of: Callable[[str], str], encoder: UserEncoder
) -> Iterator[Entry]:
    """Yield what each user of a chunk has in Redis: the slates, the segment, and the posts of `acted`."""
    for user, body in enumerate(encoder.bodies(chunk.posts), start=chunk.begin):
        segment = int(shared.segment_of_user[user])
        posts = acted.post[acted.begin[user] : acted.begin[user + 1]]
        name = shared.segment_names[segment] if segment >= 0 else ""
        yield encoder.entry(key_of(str(users.ids[user])), body, posts, name)


def shared_rows(keys: Keys, generation: str, posts: Posts, shared: Shared, names: Sequence[str]) -> Iterator[Row]:
    """Yield the hashes of the popular and the segments' slates."""

    def fields(slate: Ints) -> dict[str, str | bytes]:
        return dict.fromkeys(names, encode_slate(str(posts.ids[post]) for post in slate))

    yield keys.popular(generation), fields(shared.popular)
    for name, slate in zip(shared.segment_names, shared.by_segment, strict=True):
        yield keys.segment(generation, name), fields(slate)


def similar_strings(
    keys: Keys, generation: str, posts: Posts, pool: Ints, similar: Sequence[Ints]
) -> Iterator[tuple[str, bytes]]:
    """Yield key and value of each post's similar ones; `similar` is in the order of the pool."""
    for post, others in zip(pool[: len(similar)], similar, strict=True):
        value = encode_slate(str(posts.ids[other]) for other in others)
        yield keys.similar(generation, str(posts.ids[post])), value


def post_rows(keys: Keys, posts: Posts, wanted: Ints) -> Iterator[Row]:
    """Yield the hash of each wanted post: text and topic, "" where unknown."""
    for post in wanted:
        yield keys.post(str(posts.ids[post])), {"text": posts.text[post], "topic": posts.topic[post]}


def bucket_fields(first_bucket: int, hours: int) -> list[str]:
    """Name the fields of a run's buckets."""
    return [bucket_field(bucket) for bucket in range(first_bucket, first_bucket + hours)]


def unlink_old(
    redis: Redis,
    keys: Keys,
    keep: int,
    tables: Tables,
    segments: Sequence[str],
    batch: int,
    run: int | None = None,
    spare: Collection[str] = (),
) -> list[str]:
    """Unlink generations that are beyond those to keep; return their ids. run, spare : as in generations.retire."""
    user_ids = map(str, tables.users.ids)  # looked at only where a generation has to go
    post_ids = map(str, tables.posts.ids)
    names = {"user_ids": user_ids, "segments": segments, "post_ids": post_ids}
    return retire(redis, keys, keep=keep, batch=batch, run=run, spare=spare, **names)
