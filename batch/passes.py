"""Compiled passes over the whole log: what numpy would do by sorting it, or by laying out copies of it.

A log of 77 million events is hundreds of megabytes a column, so a pass that sorts or converts one costs seconds and as
much memory again; one that counts costs a tenth of a second.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.tables import Ints


@njit(cache=True, nogil=True)
def count(index: NDArray[np.int32], size: int) -> Ints:
    """Count how often each index occurs; int64 (size,). What numpy.bincount says, without its copy as int64."""
    counts = np.zeros(size, dtype=np.int64)
    for place in range(len(index)):
        counts[index[place]] += 1
    return counts


@njit(cache=True, nogil=True)
def count_where(index: NDArray[np.int32], counted: NDArray[np.bool_], size: int) -> Ints:
    """Count how often each index occurs where `counted`; int64 (size,)."""
    counts = np.zeros(size, dtype=np.int64)
    for place in range(len(index)):
        if counted[place]:
            counts[index[place]] += 1
    return counts


@njit(cache=True, nogil=True)
def last_values(index: NDArray[np.int32], values: Ints, size: int) -> NDArray[np.float64]:
    """Return the value at the last place of each index, NaN for one that does not occur; float64 (size,)."""
    last = np.full(size, np.nan)
    for place in range(len(index)):
        last[index[place]] = values[place]
    return last


@njit(cache=True, nogil=True)
def order_by(index: NDArray[np.int32], start: Ints) -> Ints:
    """Return the places by (index, place): a stable counting sort. start : int64 (size + 1,), where each index begins.

    int64, (len(index),).
    """
    free = start[:-1].copy()
    order = np.empty(len(index), dtype=np.int64)
    for place in range(len(index)):
        order[free[index[place]]] = place
        free[index[place]] += 1
    return order


@njit(parallel=True, cache=True, nogil=True)
def mark_first(
    by_user: Ints, start: Ints, post: NDArray[np.int32], n_posts: int, users_at_once: int
) -> NDArray[np.bool_]:
    """Say of each event whether it is its user's first on its post; bool (n_events,).

    by_user, start : event indices by (user, time), and where each user's begin.
    """
    n_users = len(start) - 1
    first = np.zeros(len(by_user), dtype=np.bool_)
    for chunk in prange((n_users + users_at_once - 1) // users_at_once):
        met_by = np.full(n_posts, -1, dtype=np.int64)
        for user in range(chunk * users_at_once, min((chunk + 1) * users_at_once, n_users)):
            for place in range(start[user], start[user + 1]):
                event = by_user[place]
                if met_by[post[event]] != user:
                    met_by[post[event]] = user
                    first[event] = True
    return first


@njit(parallel=True, cache=True, nogil=True)
def mark_followed(
    by_user: Ints,
    start: Ints,
    post: NDArray[np.int32],
    strong: NDArray[np.bool_],
    n_posts: int,
    n_events: int,
    users_at_once: int,
) -> NDArray[np.bool_]:
    """Say of each of the first `n_events` events whether its user has any `strong` one on its post among them.

    bool (n_events,); by_user, start : as in mark_first.
    """
    n_users = len(start) - 1
    followed = np.zeros(n_events, dtype=np.bool_)
    for chunk in prange((n_users + users_at_once - 1) // users_at_once):
        met_by = np.full(n_posts, -1, dtype=np.int64)
        for user in range(chunk * users_at_once, min((chunk + 1) * users_at_once, n_users)):
            for place in range(start[user], start[user + 1]):
                event = by_user[place]
                if event < n_events and strong[event]:
                    met_by[post[event]] = user
            for place in range(start[user], start[user + 1]):
                event = by_user[place]
                if event < n_events:
                    followed[event] = met_by[post[event]] == user
    return followed


@njit(parallel=True, cache=True, nogil=True)
def sort_within(begin: Ints, values: Ints) -> None:
    """Sort each slice values[begin[i] : begin[i + 1]] in place."""
    for row in prange(len(begin) - 1):
        values[begin[row] : begin[row + 1]].sort()


@njit(cache=True, nogil=True)
def keep_distinct(begin: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Drop doubles from slices that are sorted; return where each slice begins now, and the values."""
    kept_begin = np.zeros(len(begin), dtype=np.int64)
    kept = np.empty(len(values), dtype=np.int64)
    n_kept = 0
    for row in range(len(begin) - 1):
        for place in range(begin[row], begin[row + 1]):
            if place == begin[row] or values[place] != values[place - 1]:
                kept[n_kept] = values[place]
                n_kept += 1
        kept_begin[row + 1] = n_kept
    return kept_begin, kept[:n_kept].copy()
