"""Generations: write one, read it back, make it live, go back to an earlier one, unlink the old.

A generation is invisible until `flip`, and never changes after it.
"""

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from redis import Redis
from redis.exceptions import RedisError, ResponseError, WatchError

from slates.errors import NoGenerationError, SlatesError, StaleRunError, VerificationError
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest

_T = TypeVar("_T")
_JITTER = 0.1
_SAMPLES_PER_SHARD = 4

Row = tuple[str, Mapping[str, str | bytes]]
"""A Redis key and the fields of its hash."""


def expiry_s(key: str, ttl_s: float) -> int:
    """Return the seconds that `key` lives: `ttl_s`, and up to a tenth more, so that not all keys end in one instant."""
    return int(ttl_s * (1 + _JITTER * zlib.crc32(key.encode()) / 2**32)) + 1


@dataclass
class Written:
    """What a writer has put into Redis so far: fields of hashes, bytes of their values, bytes of the longest value."""

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
        self._samples: list[Row] = []
        self.shards: set[int] = set()
        self.manifest = manifest
        self.written = Written()

    def begin(self) -> None:
        """Register the generation, in the state `writing`."""
        self._lock.check()
        self._redis.zadd(self._keys.generations, {self.manifest.id: self.manifest.started_at.timestamp()})
        self._write_manifest(self.manifest)

    def write_shard(self, shard: int, rows: Iterable[Row]) -> None:
        """Write the hashes of one shard of users, then note the shard as written."""
        self._lock.check()
        taken = list(rows)
        self._write_rows(taken)
        self._samples += taken[:: max(1, len(taken) // _SAMPLES_PER_SHARD)]
        shards_key = self._keys.shards(self.manifest.id)
        with self._redis.pipeline(transaction=False) as pipeline:
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
        for batch in _batches(rows, self._batch):
            self._send(batch)

    def verify(self, expected_fields: int) -> None:
        """Compare counts, and a sample read back byte for byte; raise VerificationError at any difference."""
        if self.written.fields != expected_fields:
            msg = f"generation {self.manifest.id}: {self.written.fields} fields were new, not {expected_fields}"
            raise VerificationError(msg)
        found = self._redis.scard(self._keys.shards(self.manifest.id))
        if found != len(self.shards):
            msg = f"generation {self.manifest.id}: {found} of {len(self.shards)} shards are noted in Redis"
            raise VerificationError(msg)
        for batch in _batches(self._samples, self._batch):
            with self._redis.pipeline(transaction=False) as pipeline:
                for key, _ in batch:
                    pipeline.hgetall(key)
                stored = pipeline.execute()
            for (key, fields), got in zip(batch, stored, strict=True):
                if got != {_to_bytes(name): _to_bytes(value) for name, value in fields.items()}:
                    msg = f"{key} read back differs from what was written; the generation stays unpublished"
                    raise VerificationError(msg)

    def flip(self, manifest: Manifest) -> Manifest:
        """Make the generation live in one transaction, and return its manifest.

        Raises StaleRunError when this run lost its lock or a newer run has published meanwhile.
        """
        keys = self._keys
        with self._redis.pipeline() as pipeline:
            self._lock.guard(pipeline)
            cast("Any", pipeline).watch(keys.current)
            live_id = (cast("Any", pipeline).get(keys.current) or b"").decode()
            live = read_manifest(self._redis, keys, live_id) if live_id else None
            if live is not None and live.state == "live" and live.seq > manifest.seq:
                msg = f"run {manifest.seq} publishes nothing: generation {live.id} of the newer run {live.seq} is live"
                raise StaleRunError(msg)
            published = replace(manifest, state="live", previous=live_id)
            pipeline.multi()
            _queue_manifest(pipeline, keys, published, self._ttl_s)
            if live is not None:
                pipeline.hset(keys.generation(live.id), "state", "superseded")
            pipeline.set(keys.current, manifest.id)
            try:
                pipeline.execute()
            except WatchError as error:
                msg = (
                    f"run {manifest.seq} publishes nothing: the lock or the live generation changed at the last moment"
                )
                raise StaleRunError(msg) from error
        return published

    def _write_manifest(self, manifest: Manifest) -> None:
        with self._redis.pipeline() as pipeline:
            _queue_manifest(pipeline, self._keys, manifest, self._ttl_s)
            pipeline.execute()

    def _write_rows(self, rows: Iterable[Row]) -> None:
        for batch in _batches(rows, self._batch):
            self.written.fields += self._send(batch)
            lengths = [len(value) for _, fields in batch for value in fields.values()]
            self.written.bytes += sum(lengths)
            self.written.longest = max(self.written.longest, *lengths)

    def _send(self, batch: Sequence[Row]) -> int:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key, fields in batch:
                pipeline.hset(key, items=[part for pair in fields.items() for part in pair])
                pipeline.expire(key, expiry_s(key, self._ttl_s))
            try:
                replies = pipeline.execute()
            except ResponseError as error:
                msg = f"Redis refused a write ({error}); is maxmemory reached? The live generation is untouched"
                raise SlatesError(msg) from error
        return sum(replies[::2])


def live_generation(redis: Redis, keys: Keys) -> Manifest | None:
    """Return the live generation's manifest, None where nothing is live (or where it has expired)."""
    identifier = cast("bytes | None", redis.get(keys.current))
    return read_manifest(redis, keys, identifier.decode()) if identifier else None


def read_manifest(redis: Redis, keys: Keys, generation: str) -> Manifest | None:
    """Return a generation's manifest, None when Redis holds none of that id."""
    raw = cast("dict[bytes, bytes]", redis.hgetall(keys.generation(generation)))
    return Manifest.from_hash(raw) if raw else None


def list_generations(redis: Redis, keys: Keys) -> list[Manifest]:
    """Return the manifests that Redis still holds, newest run first."""
    names = cast("list[bytes]", redis.zrevrange(keys.generations, 0, -1))
    found = (read_manifest(redis, keys, name.decode()) for name in names)
    return [manifest for manifest in found if manifest is not None]


def rollback(redis: Redis, keys: Keys, to: str | None = None) -> Manifest:
    """Make an earlier generation live again: `to`, or by default the one that was live before; return its manifest."""
    live = live_generation(redis, keys)
    target_id = to or (live.previous if live else "")
    target = read_manifest(redis, keys, target_id) if target_id else None
    if target is None or target.state in {"writing", "complete"}:
        held = ", ".join(m.id for m in list_generations(redis, keys) if m.state in {"superseded", "rolled_back"})
        wanted = f"generation {target_id!r} cannot be served" if target_id else "no generation was live before"
        msg = f"{wanted}; Redis holds these to go back to: {held or 'none'}"
        raise NoGenerationError(msg)
    if live is not None and live.id == target.id:
        return live
    with redis.pipeline() as pipeline:
        pipeline.hset(keys.generation(target.id), "state", "live")
        if live is not None:
            pipeline.hset(keys.generation(live.id), "state", "rolled_back")
        pipeline.set(keys.current, target.id)
        pipeline.execute()
    return replace(target, state="live")


def retire(
    redis: Redis, keys: Keys, *, keep: int, user_ids: Sequence[str], segments: Sequence[str], batch: int = 500
) -> list[str]:
    """Unlink generations beyond the `keep` newest ones, the live one and the one before it; return their ids.

    Names of keys come from `user_ids` and `segments`, never from a SCAN; what they miss ends by its TTL.
    """
    live = live_generation(redis, keys)
    protected = {live.id, live.previous} if live else set()
    names = [name.decode() for name in cast("list[bytes]", redis.zrevrange(keys.generations, 0, -1))]
    served: list[str] = []
    doomed: list[str] = []
    for name in names:
        manifest = read_manifest(redis, keys, name)
        worth_keeping = manifest is not None and manifest.state != "writing" and len(served) < keep
        (served if name in protected or worth_keeping else doomed).append(name)
    for name in doomed:
        owned = [keys.popular(name), keys.shards(name), *(keys.segment(name, s) for s in segments)]
        for chunk in _batches((*owned, *(keys.user(name, u) for u in user_ids)), batch):
            redis.unlink(*chunk)
        with redis.pipeline() as pipeline:
            pipeline.unlink(keys.generation(name))
            pipeline.zrem(keys.generations, name)
            pipeline.execute()
    return doomed


def listpack_warning(redis: Redis, slate_bytes: int) -> str | None:
    """Say what it costs when Redis does not keep slates compact, None when it does or will not tell."""
    try:
        answer = cast("dict[Any, Any]", redis.config_get("hash-max-*-value"))
    except RedisError:
        return None
    limits = [int(value) for value in answer.values()]
    if not limits or max(limits) >= slate_bytes:
        return None
    return (
        f"Redis has hash-max-listpack-value {max(limits)}, a slate takes {slate_bytes} bytes: the slates take about "
        f"1.5 times the memory. Set it with: redis-cli CONFIG SET hash-max-listpack-value {max(128, 2 * slate_bytes)}"
    )


def new_generation_id(as_of: datetime, seq: int) -> str:
    """Name a generation by its as-of time and its run: `20211220T150000-7`."""
    return f"{as_of.astimezone(UTC):%Y%m%dT%H%M%S}-{seq}"


def _queue_manifest(pipeline: Any, keys: Keys, manifest: Manifest, ttl_s: float) -> None:
    key = keys.generation(manifest.id)
    pipeline.hset(key, mapping=manifest.to_hash())
    pipeline.expire(key, expiry_s(key, ttl_s))


def _to_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
