"""Compiled passes over the whole log: what numpy would do by sorting it, or by laying out copies of it.

A log of 77 million events is hundreds of megabytes a column, so a pass that sorts or converts one costs seconds and as
much memory again; one that counts costs a tenth of a second.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.tables import HOUR_S, Ints


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
def count_by_hour(
    at_s: Ints, post: NDArray[np.int32], counted: NDArray[np.bool_], group: NDArray[np.int32], out: Ints
) -> None:
    """Count events where `counted` by hour of day and the group of their post. out : int64 (24, n_groups), zeros."""
    for place in range(len(at_s)):
        if counted[place]:
            out[at_s[place] // HOUR_S % 24, group[post[place]]] += 1


@njit(cache=True, nogil=True)
def sum_halved(
    at_s: Ints, post: NDArray[np.int32], counted: NDArray[np.bool_], tau_s: int, half_life_s: float, n_posts: int
) -> NDArray[np.float64]:
    """Sum events by post where `counted`, each halved every `half_life_s` before `tau_s`; float64 (n_posts,)."""
    sums = np.zeros(n_posts)
    for place in range(len(at_s)):
        if counted[place]:
            sums[post[place]] += 0.5 ** ((tau_s - at_s[place]) / half_life_s)
    return sums


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


@njit(cache=True, nogil=True)
def latest_of_each(by_user: Ints, start: Ints, known: NDArray[np.bool_], n_events: int, most: int) -> tuple[Ints, Ints]:
    """Return each user's latest `most` of the `known` events among the first `n_events`, by (user, time).

    Returns where each user's begin, int64 (n_users + 1,), and the indices of the events.
    """
    n_users = len(start) - 1
    begin = np.zeros(n_users + 1, dtype=np.int64)
    for user in range(n_users):
        found = 0
        for place in range(start[user + 1] - 1, start[user] - 1, -1):
            if by_user[place] < n_events and known[by_user[place]]:
                found += 1
                if found == most:
                    break
        begin[user + 1] = begin[user] + found
    kept = np.empty(begin[n_users], dtype=np.int64)
    for user in range(n_users):
        free = begin[user + 1]
        for place in range(start[user + 1] - 1, start[user] - 1, -1):
            if free == begin[user]:
                break
            if by_user[place] < n_events and known[by_user[place]]:
                free -= 1
                kept[free] = by_user[place]
    return begin, kept


@njit(cache=True, nogil=True)
def posts_of_each(
    by_user: Ints, start: Ints, known: NDArray[np.bool_], post: NDArray[np.int32], n_events: int, n_posts: int
) -> tuple[Ints, Ints]:
    """Return the posts of each user's `known` events among the first `n_events`, each once, ascending.

    Returns where each user's begin, int64 (n_users + 1,), and the posts, int64.
    """
    n_users = len(start) - 1
    begin = np.zeros(n_users + 1, dtype=np.int64)
    met_by = np.full(n_posts, -1, dtype=np.int64)
    for user in range(n_users):
        found = 0
        for place in range(start[user], start[user + 1]):
            event = by_user[place]
            if event < n_events and known[event] and met_by[post[event]] != user:
                met_by[post[event]] = user
                found += 1
        begin[user + 1] = begin[user] + found
    found_posts = np.empty(begin[n_users], dtype=np.int64)
    met = np.zeros(n_posts, dtype=np.bool_)
    for user in range(n_users):
        free = begin[user]
        for place in range(start[user], start[user + 1]):
            event = by_user[place]
            if event < n_events and known[event] and not met[post[event]]:
                met[post[event]] = True
                found_posts[free] = post[event]
                free += 1
        own = found_posts[begin[user] : free]
        met[own] = False
        own.sort()
    return begin, found_posts
