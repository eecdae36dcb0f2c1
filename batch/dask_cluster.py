"""A Dask cluster, as a run meets it: found or started, and refused where its workers would compute otherwise."""

import contextlib
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from batch.errors import BatchError

LOCAL_WORKERS = 2
"""Worker processes on this machine where no scheduler is named."""
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


@contextlib.contextmanager
def connected(distributed: Any, scheduler: str | None, wait_s: float) -> Iterator[Any]:
    """Give a client of the scheduler; without an address, of a cluster on this machine that ends with it.

    Raises BatchError where no scheduler answers in `wait_s` seconds.
    """
    with contextlib.ExitStack() as open_:
        address = scheduler
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
            client = distributed.Client(address, timeout=wait_s, set_as_default=False)
        except (OSError, ValueError) as error:
            msg = f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`"
            raise BatchError(msg) from error
        yield open_.enter_context(client)


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
