"""Engines: where the shards of a run are worked through. `local` is this process; batch.engine_dask has the other."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from redis import Redis

from batch.rank import compute_once
from batch.shard import DoneShard, Shard, ShardWork, run_shard
from batch.threads import workers


class ShardEngine(Protocol):
    """Works through shards."""

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Generator[DoneShard]:
        """Yield every shard once, in any order, after it has been written."""


@dataclass(frozen=True)
class LocalEngine:
    """As many shards at a time as there are cores, each in a thread of its own: one scores while another writes."""

    redis: Redis

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Generator[DoneShard]:
        """Yield every shard, in order."""
        compute_once(work.scorer)
        with workers(loops_at_once=1) as pool:  # it drops what waits where one failed, or nobody waits for the rest
            for running in [pool.submit(run_shard, work, self.redis, shard) for shard in shards]:
                yield running.result()
