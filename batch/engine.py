"""Engines: where the shards of a run are worked through. `local` is this process; batch.engine_dask has the other."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numba
from redis import Redis

from batch.rank import compute_once
from batch.shard import DoneShard, Shard, ShardWork, run_shard
from batch.threads import at_once


class ShardEngine(Protocol):
    """Works through shards."""

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Iterator[DoneShard]:
        """Yield every shard once, in any order, after it has been written."""


@dataclass(frozen=True)
class LocalEngine:
    """As many shards at a time as there are cores, each in a thread of its own: one scores while another writes."""

    redis: Redis

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Iterator[DoneShard]:
        """Yield every shard, in order."""
        compute_once(work.scorer)
        with ThreadPoolExecutor(at_once(), initializer=numba.set_num_threads, initargs=(1,)) as pool:
            running = [pool.submit(run_shard, work, self.redis, shard) for shard in shards]
            try:
                for done in running:
                    yield done.result()
            finally:
                pool.shutdown(cancel_futures=True)  # of what failed or nobody waits for, nothing more is begun
