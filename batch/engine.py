"""Engines: where the shards of a run are worked through. `local` is this process; batch.engine_dask has the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from redis import Redis

from batch.shard import DoneShard, Shard, ShardWork, run_shard


class ShardEngine(Protocol):
    """Works through shards."""

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Iterator[DoneShard]:
        """Yield every shard once, in any order, after it has been written."""


@dataclass(frozen=True)
class LocalEngine:
    """One shard after the other, in this process."""

    redis: Redis

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Iterator[DoneShard]:
        """Yield every shard, in order."""
        for shard in shards:
            yield run_shard(work, self.redis, shard)
