"""What this machine can do at most, of what the stages live on: memory, and masks of trees.

    python -m bench.limits

Each figure is the best of five tries, on one thread and on as many as numba takes. Redis's and Postgres's limits are
measured where they are used, by bench.publish and bench.event_log. Writes bench/results/limits.json.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from bench.figures import conclude

_TRIES = 5
_MEGABYTES = 512
_POSTS, _ROUNDS = 4_096, 20_000
"""Masks of one tree that lie beside the processor, and how often they are gone through."""


@njit(parallel=True)
def _copy(source: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    for place in prange(len(source)):
        out[place] = source[place]


@njit(parallel=True)
def _sum_at(index: NDArray[np.int32], values: NDArray[np.float64], rounds: int) -> float:
    total = 0.0
    for turn in prange(rounds):
        begin = turn % 7
        for place in range(begin, len(index)):
            total += values[index[place]]
    return total


@njit(parallel=True)
def _and_masks(masks: NDArray[np.uint16], rounds: int, out: NDArray[np.uint16]) -> None:
    """AND the masks of 4,096 posts with a user's, round after round, each thread into a row of its own."""
    for thread in prange(len(out)):
        row = out[thread]
        for turn in range(rounds):
            of_user = np.uint16(turn | 1)
            for post in range(len(masks)):
                row[post] &= masks[post] | of_user


def measure() -> dict[str, float]:
    """Measure on one thread and on all."""
    most = numba.get_num_threads()
    figures: dict[str, float] = {"threads": most}
    for name, threads in {"one_thread": 1, "all_threads": most}.items():
        numba.set_num_threads(threads)
        figures |= {f"{name}.{figure}": value for figure, value in _measure(threads).items()}
    return figures


def _measure(threads: int) -> dict[str, float]:
    source = np.ones(_MEGABYTES * 2**20 // 8, dtype=np.int64)
    out = np.zeros_like(source)
    masks = np.arange(_POSTS, dtype=np.uint16)
    rows = np.full((threads, _POSTS), 2**16 - 1, dtype=np.uint16)
    index = (np.arange(_POSTS) * 7_919 % _POSTS).astype(np.int32)
    values = np.arange(_POSTS, dtype=np.float64)
    rounds = _ROUNDS * threads
    return {
        "memory_gb_per_s": 2 * source.nbytes / 1e9 / _best(lambda: _copy(source, out)),
        "masks_per_s": rows.size * _ROUNDS / _best(lambda: _and_masks(masks, _ROUNDS, rows)),
        "lookups_per_s": rounds * _POSTS / _best(lambda: _sum_at(index, values, rounds)),
    }


def _best(run: Callable[[], object]) -> float:
    run()  # compiled, and in memory
    seconds = []
    for _ in range(_TRIES):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    return conclude("limits", measure(), {})


if __name__ == "__main__":
    sys.exit(main())
