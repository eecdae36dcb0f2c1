"""Threads of this process that run compiled loops side by side."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import cast

import numba
from numba.np.ufunc.parallel import threading_layer
from threadpoolctl import threadpool_limits


def at_once() -> int:
    """Return numba's number of threads; 1 where its threads cannot be shared, or no compiled loop has run yet.

    The layer "workqueue" ends the process when two threads come to it
    (https://numba.readthedocs.io/en/stable/user/threading-layer.html).
    """
    try:
        shared = cast("Callable[[], str]", threading_layer)() != "workqueue"
    except ValueError:
        shared = False
    return numba.get_num_threads() if shared else 1


@contextmanager
def workers(loops_at_once: int) -> Iterator[ThreadPoolExecutor]:
    """Give as many threads as may be, compiled loops within each using so many cores; what waits at the end is dropped.

    BLAS uses one thread as long: its limit is one for the process, so threads that set and lift it by turns would let
    each other's sums round in another order.
    """
    threads = at_once()
    loops = loops_at_once if threads > 1 else numba.get_num_threads()
    with threadpool_limits(1, "blas"):
        pool = ThreadPoolExecutor(threads, initializer=numba.set_num_threads, initargs=(loops,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def side_by_side(tasks: Iterable[Callable[[], object]]) -> None:
    """Run tasks, some at a time; raise what any of them raised. Tasks differ in length, so loops may use all cores."""
    with workers(numba.get_num_threads()) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
