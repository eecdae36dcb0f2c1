"""The proof that a generation's keys are there: all are counted, and some read back byte for byte."""

from collections.abc import Iterable, Iterator, Sequence

from redis import Redis

from slates.batches import batches
from slates.resp import command
from slates.shard_writer import Sample, WrittenShard, digest_stored
from slates.wire import send

_SAMPLES_AT_ONCE = 16
"""Redis answers with whole slates, so readers would wait for many of them."""


def wrong_sizes(redis: Redis, sizes: Iterable[tuple[str, bool, int]], batch: int) -> Iterator[str]:
    """Say of each key that is not of its size what is wrong; sizes as in WrittenShard."""
    for some in batches(sizes, batch):
        asked = [(key, command(b"STRLEN" if is_string else b"HLEN", key.encode()), 1) for key, is_string, _ in some]
        for (key, is_string, size), found in zip(some, send(redis, asked), strict=True):
            if found == 0 and size:
                yield f"{key} is gone; does Redis evict, or does somebody delete?"
            elif found != size:
                yield f"{key} has {found} {'bytes' if is_string else 'fields'}, not {size}"


def wrong_samples(redis: Redis, samples: Iterable[Sample], batch: int) -> Iterator[str]:
    """Say of each sample that is not what was written what is wrong."""
    for some in batches(samples, min(batch, _SAMPLES_AT_ONCE)):
        with redis.pipeline(transaction=False) as pipeline:
            for key, is_string, _ in some:
                _ = pipeline.get(key) if is_string else pipeline.hgetall(key)
            stored = pipeline.execute()
        for (key, _, digest), got in zip(some, stored, strict=True):
            if digest_stored(got) != digest:
                yield f"{key} read back differs from what was written"


def is_there(redis: Redis, shard: WrittenShard, batch: int) -> bool:
    """Say whether a shard's keys are there as it was written, as far as counting and samples tell."""
    wrong: Sequence[str] = [*wrong_sizes(redis, shard.sizes, batch), *wrong_samples(redis, shard.samples, batch)]
    return not wrong
