"""Two Dask workers on this machine."""

import contextlib
from collections.abc import Iterator
from typing import Any

from extras import needs


@contextlib.contextmanager
def two_workers() -> Iterator[Any]:
    """Yield Dask's own cluster, whose processes a test may look at and kill."""
    with needs("distributed").LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=None
    ) as cluster:
        yield cluster
