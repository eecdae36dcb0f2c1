"""The engine `dask`: shards on the workers of a Dask cluster, which write to Redis themselves (docs/decisions/0021)."""

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from batch.errors import BatchError
from batch.rank import compute_once
from batch.shard import DoneShard, Shard, ShardWork, run_shard
from slates.client import connect

LOCAL_WORKERS = 2
"""Worker processes on this machine where no scheduler is named."""
_SENDS = 3
"""Times that the work is sent before a run gives up on workers that die."""
_MUST_AGREE = ("hourfeed", "numpy", "scipy", "numba", "lightgbm", "redis", "distributed")
"""Packages that a slate's bytes, or the talk between the processes, depend on."""


@dataclass(frozen=True)
class DaskEngine:
    """Sends the work to each worker once, then shards to whoever is free; what a lost worker had is done again.

    scheduler : its address, such as tcp://10.0.0.5:8786; without one a cluster on this machine lives as long as the
    run. redis_url : as the workers reach it.
    """

    redis_url: str
    scheduler: str | None = None
    wait_s: float = 30.0

    def run(self, work: ShardWork, shards: Sequence[Shard]) -> Generator[DoneShard]:
        """Yield every shard once, in the order in which they end.

        Raises BatchError where no worker can be had or workers keep dying, and what a shard raised.
        """
        distributed = import_distributed()
        left = {shard.number: shard for shard in shards}
        if shards:  # what the view computes once goes along, so that not every worker has to
            compute_once(work.scorer)
        with self._client(distributed) as client:
            for _ in range(_SENDS):
                self._see_workers(client, distributed)
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

    @contextlib.contextmanager
    def _client(self, distributed: Any) -> Iterator[Any]:
        with contextlib.ExitStack() as open_:
            address = self.scheduler
            if address is None:
                cluster = distributed.LocalCluster(
                    n_workers=LOCAL_WORKERS,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    memory_limit=None,
                )
                address = open_.enter_context(cluster).scheduler_address
            try:
                client = distributed.Client(address, timeout=self.wait_s, set_as_default=False)
            except (OSError, ValueError) as error:
                msg = f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`"
                raise BatchError(msg) from error
            yield open_.enter_context(client)

    def _see_workers(self, client: Any, distributed: Any) -> None:
        """Wait for a worker, and refuse to run where one would compute with other packages."""
        try:
            client.wait_for_workers(1, timeout=self.wait_s)
        except TimeoutError as error:
            msg = f"the Dask scheduler has no worker after {self.wait_s:g} s; start some with `dask worker ADDRESS`"
            raise BatchError(msg) from error
        mine = _versions()
        for worker, versions in client.run(_versions, on_error="return").items():
            if isinstance(versions, distributed.comm.CommClosedError | OSError):
                continue  # it died just now
            if isinstance(versions, BaseException):
                msg = f"the Dask worker {worker} cannot import hourfeed ({versions}); install the same version there"
                raise BatchError(msg)
            other = [
                f"{name} {versions.get(name)}, not {mine[name]}" for name in mine if versions.get(name) != mine[name]
            ]
            if other:
                msg = f"the Dask worker {worker} has {', '.join(other)}; install the same versions there"
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


def import_distributed() -> Any:
    """Return Dask's `distributed`; raise BatchError, which names the extra, where it is missing."""
    try:
        import distributed
    except ImportError as error:
        msg = f"the engine dask needs the extra `dask` ({error}): pip install 'hourfeed[dask]'"
        raise BatchError(msg) from error
    return distributed


_one_at_a_time = threading.Lock()
"""In a worker: a view keeps what it computed for the users at hand, so two threads must not share it."""


def _run_on_worker(work: ShardWork, redis_url: str, shard: Shard) -> DoneShard:
    with _one_at_a_time, connect(redis_url) as redis:
        return run_shard(work, redis, shard)


def _versions() -> dict[str, str]:
    """Return the versions of the packages that must be the same in all processes of a run."""
    return {name: metadata.version(name) for name in _MUST_AGREE}
