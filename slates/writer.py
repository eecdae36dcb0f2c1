"""Writes one generation: its keys, the proof that they are there, and the flip that makes it live.

A generation is invisible until `flip`, and never changes after it.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, WatchError

from slates.batches import batches
from slates.circuit import REDIS_AWAY
from slates.cluster import control, run_ids
from slates.codec import encode_slate
from slates.entry import Entry, Row, expiry_s, row_entry, string_entry
from slates.errors import StaleRunError, VerificationError
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest
from slates.proof import wrong_samples, wrong_sizes
from slates.refusal import refusal_explained
from slates.shard_writer import Sample, ShardWriter, WrittenShard, write_entries
from slates.standing import read_live_id, read_standing

_FLIP_TRIES = 5
_SAMPLES = 100


@dataclass
class Written:
    """What a writer has sent so far: slates and what stands beside them, their bytes, those of a user's longest slate.

    A user's packed slates are no fields of a hash, so none of them counts as the longest.
    """

    values: int = 0
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
        self._sizes: list[tuple[str, bool, int]] = []
        self._samples: list[Sample] = []
        self._verified: tuple[int, frozenset[str]] | None = None
        self.shards: set[int] = set()
        self.manifest = manifest
        self.written = Written()

    def begin(self) -> None:
        """Register the generation, in the state `writing`; raise StaleRunError where the lock is lost.

        Fenced, as a newer run may have taken the generation over meanwhile, and even have made it live.
        """

        def register(pipeline: Any) -> None:
            self._lock.guard(pipeline)
            pipeline.multi()
            pipeline.zadd(self._keys.generations, {self.manifest.id: self.manifest.started_at.timestamp()})
            _queue_manifest(pipeline, self._keys, self.manifest, self._ttl_s)
            if self._keys.arm:
                pipeline.sadd(self._keys.arms, self._keys.arm)
            pipeline.execute()

        self._in_turn(register, f"{self._keys.lock} changed again and again")

    def write_shard(self, shard: int, users: Iterable[Entry | Row]) -> None:
        """Write the slates of one shard of users, then note the shard as written."""
        self.take(self.shard_writer.write(self._redis, shard, users))

    @property
    def shard_writer(self) -> ShardWriter:
        """Return what writes shards of this generation, here or in another process; `take` gets what it returns."""
        return ShardWriter(self._keys, self.manifest.id, self._lock.turn, self._ttl_s, self._batch)

    def take(self, shard: WrittenShard) -> None:
        """Count in a shard that has been written."""
        self._sizes += shard.sizes
        self._samples += shard.samples
        self.written.values += shard.values
        self.written.bytes += shard.bytes
        self.written.longest = max(self.written.longest, shard.longest)
        self.shards.add(shard.number)

    def write_shared(self, rows: Iterable[Row]) -> None:
        """Write hashes that belong to no single user: the segments' and the popular slates."""
        self._lock.check()
        entries = [row_entry(row, self._ttl_s) for row in rows]
        self._write(entries)
        self._samples += map(Sample.of, entries)

    def write_list_of_posts(self, post_ids: Iterable[str]) -> None:
        """Write the list of posts that the numbers of packed slates count in."""
        self.write_strings([(self._keys.posts(self.manifest.id), encode_slate(post_ids))])

    def write_strings(self, strings: Iterable[tuple[str, bytes]]) -> None:
        """Write strings that belong to no user, each as key and value; a few of them are read back by `verify`."""
        self._lock.check()
        entries = [string_entry(key, value, self._ttl_s) for key, value in strings]
        self._write(entries)
        self._samples += map(Sample.of, entries[:: max(1, len(entries) // _SAMPLES)])

    def write_posts(self, rows: Iterable[Row]) -> None:
        """Write the posts' hashes. Generations share them, so they are not counted as this one's."""
        self._lock.check()
        for batch in batches((row_entry(row, self._ttl_s) for row in rows), self._batch):
            write_entries(self._redis, batch, self._batch)

    def verify(self, expected_values: int) -> None:
        """Count all that is there, and read a sample back byte for byte; raise VerificationError at any difference.

        Once this is done `flip` does it again on servers that took over from those that were asked here: a replica may
        lack what its master had.
        """
        servers = run_ids(self._redis)
        self._verify_counts(expected_values)
        for wrong in wrong_samples(self._redis, self._samples, self._batch):
            raise self._unverified(wrong)
        self._verified = expected_values, servers

    def hold(self, manifest: Manifest) -> None:
        """Keep the generation from readers, for a look until its TTL ends; its state is `blocked` or `candidate`.

        Raises StaleRunError when the lock is lost.
        """

        def keep(pipeline: Any) -> None:
            self._lock.guard(pipeline)  # a newer run may have gone on with this generation, and made it live
            pipeline.multi()
            _queue_manifest(pipeline, self._keys, manifest, self._ttl_s)
            pipeline.execute()

        self._in_turn(keep, f"{self._keys.lock} changed again and again")

    def flip(self, manifest: Manifest) -> Manifest:
        """Make the generation live in one transaction, and return its manifest.

        Raises StaleRunError when this run lost its lock or a newer run has published meanwhile, and VerificationError
        when a server took over since `verify` that does not hold all.
        """

        def transact(pipeline: Any) -> Manifest:
            self._lock.guard(pipeline)
            # Only now: the transaction ends with the connection, so with the server that is asked here.
            if self._verified is not None and self._verified[1] != run_ids(self._redis):
                self.verify(self._verified[0])
                raise WatchError("another server has taken over")
            return self._flip_in(pipeline, manifest)

        live: Manifest = self._in_turn(transact, f"{self._keys.current} changed again and again")
        with suppress(RedisError, *REDIS_AWAY):
            self._redis.unlink(self._keys.shards(manifest.id))  # nobody resumes it now; else it ends by its TTL
        return live

    def _in_turn(self, transact: Callable[[Any], Any], else_because: str) -> Any:
        """Call `transact` with a pipeline until nothing that it watches changes meanwhile; return what it returned."""
        for _ in range(_FLIP_TRIES):
            try:
                with refusal_explained(), control(self._redis, self._keys).pipeline() as pipeline:
                    return transact(pipeline)
            except WatchError:
                continue  # the lock was renewed, somebody rolled back, or the connection broke: look again
        msg = f"run {self._lock.seq} publishes nothing: {else_because}"
        raise StaleRunError(msg)

    def _flip_in(self, pipeline: Any, manifest: Manifest) -> Manifest:
        keys = self._keys
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

    def _verify_counts(self, expected_values: int) -> None:
        if self.written.values != expected_values:
            raise self._unverified(f"{self.written.values} values were written, not {expected_values}")
        noted = self._redis.hlen(self._keys.shards(self.manifest.id))
        if noted != len(self.shards):
            raise self._unverified(f"{noted} of {len(self.shards)} shards are noted in Redis")
        for wrong in wrong_sizes(self._redis, self._sizes, self._batch):
            raise self._unverified(wrong)

    def _unverified(self, what: str) -> VerificationError:
        return VerificationError(f"generation {self.manifest.id} stays unpublished: {what}")

    def _write(self, entries: Sequence[Entry]) -> None:
        write_entries(self._redis, entries, self._batch)
        self._sizes += [(entry.key, entry.is_string, entry.size) for entry in entries]
        self.written.values += sum(entry.values for entry in entries)
        self.written.bytes += sum(entry.value_bytes for entry in entries)


def _queue_manifest(pipeline: Any, keys: Keys, manifest: Manifest, ttl_s: float) -> None:
    key = keys.generation(manifest.id)
    pipeline.hset(key, mapping=manifest.to_hash())
    pipeline.expire(key, expiry_s(key, ttl_s))
