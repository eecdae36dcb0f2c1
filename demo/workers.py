"""Does the pieces of a simulation side by side in processes, or here where one process is enough."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

from demo.errors import DemoError
from demo.parameters import Parameters
from demo.sessions import Network, make_network

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Network, Item], Result]

_network: Network | None = None
"""The network of this process, where it is a worker."""


class Run(Protocol):
    """Does the work on each item; the results come in the order of the items."""

    def __call__(self, work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield the results."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def side_by_side(network: Network, workers: int) -> Iterator[Run]:
    """Yield what runs work that only depends on network and item; `work` is pickled where there are two workers.

    Raises DemoError when a worker is killed.
    """
    if workers < 2:
        yield lambda work, items: (work(network, item) for item in items)
        return
    # A fresh process draws the network anew, which is quicker than to send it; a fork would copy locks of threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (network.parameters,))
    try:
        yield lambda work, items: pool.map(_do, [work] * len(items), items)
    except BrokenProcessPool as error:
        raise DemoError("a process of the simulation was killed; was there too little memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parameters: Parameters) -> None:
    global _network  # noqa: PLW0603 - the state of a worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _network = make_network(parameters)


def _do(work: Work[Item, Result], item: Item) -> Result:
    assert _network is not None  # noqa: S101 - `_begin` has run
    return work(_network, item)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # else an idle worker would outlive a killed simulation for ever
