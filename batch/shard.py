"""A shard: some users' slates, from scores to Redis. The one function that runs here or on other machines."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from redis import Redis

from batch import publish
from batch.about_shard import AboutShard
from batch.alike import PLACES
from batch.by_bucket import sum_by_bucket
from batch.encode import UserEncoder
from batch.features.view import View
from batch.rank import Scorer
from batch.rules import RuledPool
from batch.slate import ActedOn, make_chunk
from batch.tables import Users
from slates.shard_writer import ShardWriter, WrittenShard


@dataclass(frozen=True)
class ShardWork:
    """What all shards of a run are made from; it goes to another process by pickle.

    acted : what users are not shown again; acted_shared : of it, what is in the slates that users share.
    explore_places : places of a slate, from 1 on, that explore.
    """

    scorer: Scorer
    view: View
    acted: ActedOn
    ruled: RuledPool | None
    top_n: int
    explore_places: Sequence[int]
    users: Users
    shared: publish.Shared
    acted_shared: ActedOn
    encoder: UserEncoder
    writer: ShardWriter


@dataclass(frozen=True)
class Shard:
    """Users (indices) whose slates are made and written together."""

    number: int
    users: range


@dataclass(frozen=True)
class DoneShard:
    """A shard in Redis.

    slate_s, publish_s : seconds of the two stages, 0 for one that a killed run has written.
    """

    users: range
    written: WrittenShard
    about: AboutShard
    slate_s: float
    publish_s: float


def run_shard(work: ShardWork, redis: Redis, shard: Shard) -> DoneShard:
    """Score, pick, encode and write a shard. The same bytes under the same keys, however often and wherever it runs."""
    begun = time.perf_counter()
    chunk = make_chunk(work.scorer, work.view, work.acted, shard.users, work.top_n, work.ruled)
    first_posts = _earned(chunk.posts[:, 0], work.explore_places)
    by_bucket = sum_by_bucket(chunk.posts, shard.users.start, work.view.n_posts)
    about = AboutShard(chunk.explored, first_posts, by_bucket)
    picked = time.perf_counter()
    key_of = partial(work.writer.keys.user, work.writer.generation)
    entries = publish.user_entries(chunk, work.users, work.shared, work.acted_shared, key_of, work.encoder)
    written = work.writer.write(redis, shard.number, entries, about.to_text())
    ended = time.perf_counter()
    return DoneShard(shard.users, written, about, picked - begun, ended - picked)


def _earned(posts: NDArray[np.int32], explore_places: Sequence[int]) -> NDArray[np.int32]:
    """Return the first posts of slates that stand at their place by score, not to be explored."""
    places = [place for place in range(posts.shape[1]) if place + 1 not in explore_places]
    return np.ascontiguousarray(posts[:, places[:PLACES]])
