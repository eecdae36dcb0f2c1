"""How many threads of this process may run compiled loops side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numba
from numba.np.ufunc.parallel import threading_layer


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


def side_by_side(tasks: Iterable[Callable[[], object]]) -> None:
    """Run tasks, some at a time; raise what any of them raised."""
    with ThreadPoolExecutor(at_once()) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
