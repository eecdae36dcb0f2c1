"""The engine `dask`: shards on the workers of a Dask cluster, which write to Redis themselves (docs/decisions/0021)."""

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numba

from batch.dask_cluster import OwnCluster, connected, import_distributed, see_workers
from batch.errors import BatchError
from batch.rank import compute_once
from batch.shard import DoneShard, Shard, ShardWork, run_shard
from slates.client import connect

_SENDS = 3
"""Times that the work is sent before a run gives up on workers that die."""


@dataclass(frozen=True)
class DaskEngine:
    """Sends the work to each worker once, then shards to whoever is free; what a lost worker had is done again.

    scheduler : its address, such as tcp://10.0.0.5:8786, or a cluster of the run's own. redis_url : as the workers
    reach it.
    """

    redis_url: str
    scheduler: str | OwnCluster
    wait_s: float = 30.0

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Generator[DoneShard]:
        """Yield every shard once, in the order in which they end.

        Raises BatchError where no worker can be had or workers keep dying, and what a shard raised.
        """
        distributed = import_distributed()
        left = {shard.number: shard for shard in shards}
        if shards:  # what the view computes once goes along, so that not every worker has to
            compute_once(work.scorer)
        with connected(distributed, self.scheduler, self.wait_s) as client:
            for _ in range(_SENDS):
                see_workers(client, distributed, self.wait_s)
                try:
                    for done in self._send_and_run(client, distributed, work, list(left.values())):
                        del left[done.written.number]
                        yield done
                except (distributed.client.FutureCancelledError, distributed.comm.CommClosedError):
                    continue  # every worker that held the work has died: send it to those that came after
                except distributed.scheduler.KilledWorker as error:
                    msg = f"workers keep dying at the same shard ({error}); have they the memory for it?"
                    raise BatchError(msg) from error
                if not left:
                    return
        msg = f"all Dask workers died {_SENDS} times, so nothing is published; look at their logs, and at their memory"
        raise BatchError(msg)

    def _send_and_run(
        self, client: Any, distributed: Any, work: ShardWork, shards: Sequence[Shard]
    ) -> Iterator[DoneShard]:
        # Not hashed: that would read all of it, and no two runs have the same work.
        sent = client.scatter(work, broadcast=True, direct=True, hash=False)
        futures = [client.submit(_run_on_worker, sent, self.redis_url, shard, pure=False) for shard in shards]
        try:
            for future, done in distributed.as_completed(futures, with_results=True, loop=client.loop):
                if isinstance(done, BaseException):  # a lost future comes as a result
                    raise done
                yield done
                future.release()
        finally:
            client.cancel([*futures, sent])


_one_at_a_time = threading.Lock()
"""In a worker: a view keeps what it computed for the users at hand, so two threads must not share it."""


def _run_on_worker(work: ShardWork, redis_url: str, shard: Shard) -> DoneShard:
    from distributed import get_worker

    with _one_at_a_time, connect(redis_url) as redis:
        # By default as many as there are cores, in each worker of the machine.
        numba.set_num_threads(min(get_worker().state.nthreads, numba.get_num_threads()))
        return run_shard(work, redis, shard)
