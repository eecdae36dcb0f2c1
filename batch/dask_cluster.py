"""A Dask cluster, as a run meets it: found or started, and refused where its workers would compute otherwise."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from types import TracebackType
from typing import Any, Self

from batch.errors import BatchError

LOCAL_WORKERS = 2
"""Worker processes on this machine where no scheduler is named."""
_LIGHT = {
    # Dask has workers give freed memory back at once, and each large array asks the kernel for it anew.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.worker.profile.enabled": False,  # a look at all threads, a hundred times a second
}
"""Dask's settings for workers of a run alone; deploy/dask.sh sets them for others."""
_MUST_AGREE = ("hourfeed", "numpy", "scipy", "numba", "lightgbm", "redis", "distributed")
"""Packages that a slate's bytes, or the talk between the processes, depend on."""


def import_distributed() -> Any:
    """Return Dask's `distributed`; raise BatchError, which names the extra, where it is missing."""
    try:
        import distributed
    except ImportError as error:
        msg = f"the engine dask needs the extra `dask` ({error}): pip install 'hourfeed[dask]'"
        raise BatchError(msg) from error
    return distributed


class OwnCluster:
    """Two worker processes on this machine for as long as it is entered; they start while the run does other things."""

    def __enter__(self) -> Self:
        """Begin to start workers; raise BatchError where Dask is missing."""
        self._distributed = import_distributed()
        self._pool = ThreadPoolExecutor(1)
        self._cluster: Future[Any] = self._pool.submit(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, however they came up."""
        self._pool.shutdown()
        if self._cluster.exception() is None:
            self._cluster.result().close()

    @property
    def address(self) -> str:
        """Return the scheduler's address, once the workers are there."""
        return str(self._cluster.result().scheduler_address)

    def _start(self) -> Any:
        import dask

        with dask.config.set(_LIGHT):
            return self._distributed.LocalCluster(
                n_workers=LOCAL_WORKERS,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=None,
            )


@contextlib.contextmanager
def connected(distributed: Any, scheduler: str | OwnCluster, wait_s: float) -> Iterator[Any]:
    """Give a client of the scheduler; raise BatchError where none answers in `wait_s` seconds."""
    address = scheduler.address if isinstance(scheduler, OwnCluster) else scheduler
    try:
        client = distributed.Client(address, timeout=wait_s, set_as_default=False)
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`"
        raise BatchError(msg) from error
    with client:
        yield client


def see_workers(client: Any, distributed: Any, wait_s: float) -> None:
    """Wait for a worker, and refuse to run where one would compute with other packages."""
    try:
        client.wait_for_workers(1, timeout=wait_s)
    except TimeoutError as error:
        msg = f"the Dask scheduler has no worker after {wait_s:g} s; start some with `dask worker ADDRESS`"
        raise BatchError(msg) from error
    mine = _versions()
    for worker, versions in client.run(_versions, on_error="return").items():
        if isinstance(versions, distributed.comm.CommClosedError | OSError):
            continue  # it died just now
        if isinstance(versions, BaseException):
            msg = f"the Dask worker {worker} cannot import hourfeed ({versions}); install the same version there"
            raise BatchError(msg)
        other = [f"{name} {versions.get(name)}, not {mine[name]}" for name in mine if versions.get(name) != mine[name]]
        if other:
            msg = f"the Dask worker {worker} has {', '.join(other)}; install the same versions there"
            raise BatchError(msg)


def _versions() -> dict[str, str]:
    """Return the versions of the packages that must be the same in all processes of a run."""
    return {name: metadata.version(name) for name in _MUST_AGREE}
