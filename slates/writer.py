"""Writes one generation: its keys, the proof that they are there, and the flip that makes it live.

A generation is invisible until `flip`, and never changes after it.
"""

import itertools
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import ResponseError, WatchError

from slates.codec import ACTED_FIELD
from slates.errors import StaleRunError, VerificationError
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest
from slates.refusal import refusal_explained
from slates.standing import read_live_id, read_standing

_T = TypeVar("_T")
_JITTER = 0.1
_SAMPLES_PER_SHARD = 4
_FLIP_TRIES = 5

Row = tuple[str, Mapping[str, str | bytes]]
"""A Redis key and the fields of its hash."""


def expiry_s(key: str, ttl_s: float) -> int:
    """Return the seconds that `key` lives: `ttl_s`, and up to a tenth more, so that not all keys end in one instant."""
    return math.ceil(ttl_s * (1 + _JITTER * zlib.crc32(key.encode()) / 2**32))


@dataclass
class Written:
    """What a writer has sent so far: fields of hashes, bytes of their values, bytes of a user's longest slate."""

    fields: int = 0
    bytes: int = 0
    longest: int = 0


class GenerationWriter:
    """Writes the keys of one generation, each with a TTL from the start, in pipelines of `batch` keys."""

    def __init__(
        self, redis: Redis, keys: Keys, lock: RunLock, manifest: Manifest, *, ttl_s: float, batch: int = 500
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._lock = lock
        self._ttl_s = ttl_s
        self._batch = batch
        self._names: list[str] = []
        self._samples: list[Row] = []
        self.shards: set[int] = set()
        self.manifest = manifest
        self.written = Written()

    def begin(self) -> None:
        """Register the generation, in the state `writing`."""
        self._lock.check()
        with refusal_explained(), self._redis.pipeline() as pipeline:
            pipeline.zadd(self._keys.generations, {self.manifest.id: self.manifest.started_at.timestamp()})
            _queue_manifest(pipeline, self._keys, self.manifest, self._ttl_s)
            pipeline.execute()

    def write_shard(self, shard: int, rows: Iterable[Row]) -> None:
        """Write the hashes of one shard of users, then note the shard as written."""
        self._lock.check()
        taken = list(rows)
        self._write_rows(taken)
        self._samples += taken[:: max(1, len(taken) // _SAMPLES_PER_SHARD)]
        lengths = (len(value) for _, fields in taken for name, value in fields.items() if name != ACTED_FIELD)
        self.written.longest = max(self.written.longest, max(lengths, default=0))
        shards_key = self._keys.shards(self.manifest.id)
        with refusal_explained(), self._redis.pipeline() as pipeline:
            pipeline.sadd(shards_key, shard)
            pipeline.expire(shards_key, expiry_s(shards_key, self._ttl_s))
            pipeline.execute()
        self.shards.add(shard)

    def write_shared(self, rows: Iterable[Row]) -> None:
        """Write hashes that belong to no single user: the segments' and the popular slates."""
        self._lock.check()
        taken = list(rows)
        self._write_rows(taken)
        self._samples += taken

    def write_posts(self, rows: Iterable[Row]) -> None:
        """Write the posts' hashes. Generations share them, so they are not counted as this one's."""
        self._lock.check()
        for batch in batches(rows, self._batch):
            self._send(batch)

    def verify(self, expected_fields: int) -> None:
        """Count all that is there, and read a sample back byte for byte; raise VerificationError at any difference."""
        self._verify_counts(expected_fields)
        for batch in batches(self._samples, self._batch):
            with self._redis.pipeline(transaction=False) as pipeline:
                for key, _ in batch:
                    pipeline.hgetall(key)
                stored = pipeline.execute()
            for (key, fields), got in zip(batch, stored, strict=True):
                if got != {_to_bytes(name): _to_bytes(value) for name, value in fields.items()}:
                    raise self._unverified(f"{key} read back differs from what was written")

    def flip(self, manifest: Manifest) -> Manifest:
        """Make the generation live in one transaction, and return its manifest.

        Raises StaleRunError when this run lost its lock or a newer run has published meanwhile.
        """
        for _ in range(_FLIP_TRIES):
            try:
                with refusal_explained(), self._redis.pipeline() as pipeline:
                    return self._flip_in(pipeline, manifest)
            except WatchError:
                continue  # the lock was renewed, somebody rolled back, or the connection broke: look again
        msg = f"run {manifest.seq} publishes nothing: {self._keys.current} changed again and again"
        raise StaleRunError(msg)

    def _flip_in(self, pipeline: Any, manifest: Manifest) -> Manifest:
        keys = self._keys
        self._lock.guard(pipeline)
        pipeline.watch(keys.current)
        live_id = read_live_id(pipeline, keys)
        pipeline.watch(keys.generation(live_id))
        live = read_standing(pipeline, keys, live_id)
        if live_id == manifest.id:  # the try before came through, and only its answer was lost
            return replace(manifest, state="live", previous=live.previous)
        if live.state == "live" and live.seq > manifest.seq:
            msg = f"run {manifest.seq} publishes nothing: generation {live_id} of the newer run {live.seq} is live"
            raise StaleRunError(msg)
        published = replace(manifest, state="live", previous=live_id)
        pipeline.multi()
        _queue_manifest(pipeline, keys, published, self._ttl_s)
        if live.state:
            pipeline.hset(keys.generation(live_id), "state", "superseded")
        pipeline.set(keys.current, manifest.id)
        pipeline.execute()
        return published

    def _verify_counts(self, expected_fields: int) -> None:
        if self.written.fields != expected_fields:
            raise self._unverified(f"{self.written.fields} fields were written, not {expected_fields}")
        noted = self._redis.scard(self._keys.shards(self.manifest.id))
        if noted != len(self.shards):
            raise self._unverified(f"{noted} of {len(self.shards)} shards are noted in Redis")
        found = 0
        for batch in batches(self._names, self._batch):
            with self._redis.pipeline(transaction=False) as pipeline:
                for key in batch:
                    pipeline.hlen(key)
                lengths = pipeline.execute()
            if 0 in lengths:
                raise self._unverified(f"{batch[lengths.index(0)]} is gone; does Redis evict, or does somebody delete?")
            found += sum(lengths)
        if found != expected_fields:
            raise self._unverified(f"{found} fields are in Redis, not {expected_fields}")

    def _unverified(self, what: str) -> VerificationError:
        return VerificationError(f"generation {self.manifest.id} stays unpublished: {what}")

    def _write_rows(self, rows: Iterable[Row]) -> None:
        for batch in batches(rows, self._batch):
            self._send(batch)
            lengths = [len(value) for _, fields in batch for value in fields.values()]
            self._names += [key for key, _ in batch]
            self.written.fields += len(lengths)
            self.written.bytes += sum(lengths)

    def _send(self, batch: Sequence[Row]) -> None:
        """Write hashes in one round trip, each in a transaction of its own with its TTL.

        A pipeline may be cut anywhere, and between HSET and EXPIRE it would leave a key for ever. One transaction for
        all would be quicker by a few per cent, but makes readers wait until all of it is done.
        """
        with refusal_explained(), self._redis.pipeline(transaction=False) as untyped:
            pipeline: Any = untyped
            for key, fields in batch:
                pipeline.execute_command("MULTI")
                pipeline.hset(key, items=[part for pair in fields.items() for part in pair])
                pipeline.expire(key, expiry_s(key, self._ttl_s))
                pipeline.execute_command("EXEC")
            answers = pipeline.execute()[3::4]
            refused = [answer for of_key in answers for answer in of_key if isinstance(answer, ResponseError)]
            if refused:  # redis-py raises what is refused before EXEC, not what fails within it
                raise refused[0]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield the items in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _queue_manifest(pipeline: Any, keys: Keys, manifest: Manifest, ttl_s: float) -> None:
    key = keys.generation(manifest.id)
    pipeline.hset(key, mapping=manifest.to_hash())
    pipeline.expire(key, expiry_s(key, ttl_s))


def _to_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
