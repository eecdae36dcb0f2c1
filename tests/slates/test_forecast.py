"""The forecast against a real server's own figure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from publishing import KEYS, manifest_of
from redis import Redis

from batch import publish
from batch.encode import IdsEncoder, PackedEncoder, UserEncoder
from batch.slate import ActedOn, Chunk
from batch.tables import Posts, Users
from slates.forecast import Sizes, Store, generation_bytes, posts_bytes
from slates.generations import GenerationWriter
from slates.lock import RunLock
from slates.packed import CODEC, Layout
from slates.room import read_rooms, read_store

TTL_S = 3600.0


def used(redis: Redis) -> int:
    """Return what Redis uses, without the buffers of its clients."""
    (room,) = read_rooms(redis)
    return room.used - int(redis.info("memory")["mem_clients_normal"])


def ids_of(count: int, digits: int) -> Any:
    return np.arange(10 ** (digits - 1), 10 ** (digits - 1) + count)


def publish_sizes(redis: Redis, sizes: Sizes, post_ids: Any) -> None:
    """Write a generation of these sizes, of random slates."""
    rng = np.random.default_rng(1)
    empty, zeros = np.full(sizes.posts, "", dtype=object), np.zeros(sizes.posts)
    posts = Posts(post_ids, empty, empty, empty, zeros.astype(bool), zeros, zeros)
    names = [f"{place:0{int(sizes.segment_bytes)}}" for place in range(sizes.segments)]
    slates = [
        rng.choice(sizes.posts, min(sizes.shared_posts, sizes.posts), replace=False) for _ in range(len(names) + 1)
    ]
    segment_of_user = rng.integers(0, len(names), sizes.users) if names else np.full(sizes.users, -1)
    shared = publish.Shared(slates[0], slates[1:], names, segment_of_user)
    n_acted = np.full(sizes.users, int(sizes.acted_posts))
    begin = np.concatenate(([0], np.cumsum(n_acted)))
    acted = ActedOn(begin, rng.integers(0, sizes.posts, begin[-1]))
    with RunLock(redis, KEYS) as lock:
        manifest = replace(
            manifest_of(lock.seq), codec=sizes.codec, posts=sizes.posts, top_n=sizes.top_n, users=sizes.users
        )
        manifest = replace(manifest, last_bucket=manifest.first_bucket + sizes.hours - 1)
        writer = GenerationWriter(redis, KEYS, lock, manifest, ttl_s=TTL_S)
        fields = publish.bucket_fields(manifest.first_bucket, sizes.hours)
        encoder: UserEncoder = IdsEncoder(posts, fields, TTL_S)
        if sizes.codec == CODEC:
            encoder = PackedEncoder(Layout.of(manifest), np.arange(sizes.posts), sizes.posts, TTL_S)
            writer.write_list_of_posts(map(str, post_ids))
        writer.write_shared(publish.shared_rows(KEYS, manifest.id, posts, shared, fields))
        others = [
            rng.choice(sizes.posts, sizes.similar, replace=False) for _ in range(sizes.posts * bool(sizes.similar))
        ]
        writer.write_strings(publish.similar_strings(KEYS, manifest.id, posts, np.arange(sizes.posts), others))
        chunk = Chunk(0, rng.integers(0, sizes.posts, (sizes.users, sizes.hours, sizes.top_n), dtype=np.int32))
        users = Users(ids_of(sizes.users, int(sizes.user_id_bytes)), {})
        key_of = lambda user_id: KEYS.user(manifest.id, user_id)  # noqa: E731
        writer.write_shard(0, publish.user_entries(chunk, users, shared, acted, key_of, encoder))


@pytest.mark.parametrize("codec", ["ids", "packed"])
@pytest.mark.parametrize(
    ("users", "hours", "top_n", "digits", "posts", "segments", "acted", "similar"),
    [
        (6_000, 24, 20, 4, 7_000, 48, 0, 20),
        (9_000, 1, 10, 3, 500, 4, 3, 0),
        (2_000, 48, 30, 8, 3_000, 0, 8, 7),
        (300, 168, 100, 18, 2_000, 10, 0, 100),
        (1_500, 24, 20, 6, 70_000, 20, 1, 0),
    ],
)
def test_the_forecast_is_within_fifteen_per_cent_of_what_redis_says(
    redis_client: Redis,
    codec: str,
    users: int,
    hours: int,
    top_n: int,
    digits: int,
    posts: int,
    segments: int,
    acted: int,
    similar: int,
) -> None:
    sizes = Sizes(
        users=users,
        hours=hours,
        top_n=top_n,
        codec=codec,
        post_id_bytes=digits,
        user_id_bytes=6,
        posts=posts,
        segments=segments,
        segment_bytes=20 if segments else 0,
        acted_posts=acted,
        similar=similar,
        key_bytes=len(KEYS.user(manifest_of(1).id, "")),
    )
    before = used(redis_client)
    publish_sizes(redis_client, sizes, ids_of(posts, digits))
    taken = used(redis_client) - before
    assert generation_bytes(sizes, read_store(redis_client)) / taken == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("text_bytes", [1_500, 600], ids=["long texts", "texts that lie compactly"])
def test_posts_are_forecast_too(text_bytes: int, redis_client: Redis) -> None:
    before = used(redis_client)
    with RunLock(redis_client, KEYS) as lock:
        writer = GenerationWriter(redis_client, KEYS, lock, manifest_of(lock.seq), ttl_s=TTL_S)
        writer.write_posts(
            (KEYS.post(str(1000 + post)), {"text": "x" * text_bytes, "topic": "y" * 10}) for post in range(2_000)
        )
        taken = used(redis_client) - before
    forecast = posts_bytes(2_000, text_bytes + 10, 4, read_store(redis_client))
    assert forecast / taken == pytest.approx(1, abs=0.15)


def test_the_usual_allocator_rounds_to_four_classes_for_each_power_of_two() -> None:
    sizes = Sizes(users=1000, hours=24, top_n=20, codec="packed", post_id_bytes=4, user_id_bytes=6, posts=7_000)
    # 960 bytes of slates + 2 + 5 + 1 are 968, in the class 1024; a key of 43 and 4 in 48, two entries of 24 in 32, an
    # object in 16, and 24 for both tables; the one list of posts and the popular slate are little beside.
    assert generation_bytes(sizes, Store()) == pytest.approx(1000 * (1024 + 48 + 64 + 16 + 24), rel=0.06)
