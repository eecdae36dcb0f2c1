"""Compiled passes over the whole log: what numpy would do by sorting it, or by laying out copies of it.

A log of 77 million events is hundreds of megabytes a column, so a pass that sorts or converts one costs seconds and as
much memory again; one that counts costs a tenth of a second.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.tables import HOUR_S, Ints

Places = NDArray[np.int32] | NDArray[np.int64]
"""Indices of events: half the memory where there are fewer than 2^31."""


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


def _places(size: int, n_events: int) -> Places:
    return np.empty(size, dtype=np.int32) if n_events < 2**31 else np.empty(size, dtype=np.int64)


def order_by(index: NDArray[np.int32], start: Ints) -> Places:
    """Return the places by (index, place): a stable counting sort. start : int64 (size + 1,), where each index begins.

    (len(index),).
    """
    order = _places(len(index), len(index))
    _fill_order(index, start[:-1].copy(), order)
    return order


@njit(cache=True, nogil=True)
def _fill_order(index: NDArray[np.int32], free: Ints, order: Places) -> None:
    for place in range(len(index)):
        order[free[index[place]]] = place
        free[index[place]] += 1


def order_where(index: NDArray[np.int32], counted: NDArray[np.bool_], start: Ints) -> Places:
    """Return what order_by does of the places that are `counted`, of which start : says where each index begins."""
    order = _places(int(start[-1]), len(index))
    _fill_order_where(index, counted, start[:-1].copy(), order)
    return order


@njit(cache=True, nogil=True)
def _fill_order_where(index: NDArray[np.int32], counted: NDArray[np.bool_], free: Ints, order: Places) -> None:
    for place in range(len(index)):
        if counted[place]:
            order[free[index[place]]] = place
            free[index[place]] += 1


@njit(cache=True, nogil=True)
def reordered(flags: NDArray[np.bool_], order: Places) -> NDArray[np.bool_]:
    """Return flags[order], without numpy's copy of the order as int64."""
    out = np.empty(len(order), dtype=np.bool_)
    for place in range(len(order)):
        out[place] = flags[order[place]]
    return out


@njit(cache=True, nogil=True)
def count_groups(
    user: NDArray[np.int32], post: NDArray[np.int32], counted: NDArray[np.bool_], group: NDArray[np.int32], out: Ints
) -> None:
    """Count events where `counted` by user and the group of their post. out : int64 (n_users, n_groups), zeros."""
    for place in range(len(user)):
        if counted[place]:
            out[user[place], group[post[place]]] += 1


@njit(cache=True, nogil=True)
def count_early(
    order: Places, start: Ints, at_s: Ints, n_events: int, until_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Count how many of the first `n_events` events each post has before its `until_s`; float64 (n_posts,).

    order, start : the events that count, by (post, time), and where each post's begin.
    """
    counts = np.zeros(len(start) - 1)
    for post in range(len(start) - 1):
        for place in range(start[post], start[post + 1]):
            event = order[place]
            if event >= n_events or not at_s[event] < until_s[post]:
                break  # so it is with all later ones
            counts[post] += 1
    return counts


@njit(cache=True, nogil=True)
def sums_halved_at(
    at_s: Ints,
    post: NDArray[np.int32],
    counted: NDArray[np.bool_],
    moments: Ints,
    half_life_s: float,
    window_s: float,
    n_posts: int,
) -> NDArray[np.float64]:
    """Return sum_halved of the events in the window before each moment, up to a factor of each; (n_moments, n_posts).

    moments : ascending. What enters and leaves the window from one moment to the next is added and taken away.
    """
    sums, inside = np.zeros(n_posts), np.zeros(n_posts, dtype=np.int64)
    found = np.empty((len(moments), n_posts))
    old = new = np.searchsorted(at_s, moments[0] - window_s)
    for row in range(len(moments)):
        while new < len(at_s) and at_s[new] < moments[row]:
            if counted[new]:
                sums[post[new]] += 0.5 ** ((moments[-1] - at_s[new]) / half_life_s)
                inside[post[new]] += 1
            new += 1
        while old < new and at_s[old] < moments[row] - window_s:
            if counted[old]:
                inside[post[old]] -= 1
                left = sums[post[old]] - 0.5 ** ((moments[-1] - at_s[old]) / half_life_s)
                sums[post[old]] = left if inside[post[old]] > 0 else 0.0
            old += 1
        found[row] = sums
    return found


@njit(parallel=True, cache=True, nogil=True)
def first_wanted(
    users: Ints,
    by_user: Places,
    start: Ints,
    post: NDArray[np.int32],
    at_s: Ints,
    wanted: Ints,
    since_s: Ints,
    n_posts: int,
    users_at_once: int,
) -> NDArray[np.bool_]:
    """Say which `wanted` events are the first such ones of their pair, if the pair's first event is not before since_s.

    users : those of the wanted events. wanted : indices of events, ascending. since_s : (n_wanted,). bool (n_wanted,).
    """
    found = np.zeros(len(wanted), dtype=np.bool_)
    for chunk in prange((len(users) + users_at_once - 1) // users_at_once):
        met_by, had_by = np.full(n_posts, -1, dtype=np.int64), np.full(n_posts, -1, dtype=np.int64)
        met_s = np.zeros(n_posts, dtype=np.int64)
        for user in users[chunk * users_at_once : (chunk + 1) * users_at_once]:
            for place in range(start[user], start[user + 1]):
                event = by_user[place]
                of = post[event]
                if met_by[of] != user:
                    met_by[of], met_s[of] = user, at_s[event]
                if event < wanted[0] or event > wanted[-1]:
                    continue
                at = np.searchsorted(wanted, event)
                if wanted[at] == event and had_by[of] != user:
                    had_by[of] = user
                    found[at] = met_s[of] >= since_s[at]
    return found


@njit(parallel=True, cache=True, nogil=True)
def mark_first(
    by_user: Places, start: Ints, post: NDArray[np.int32], n_posts: int, users_at_once: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say of each event whether it is its user's first on its post: by event, and in the order of `by_user`.

    by_user, start : event indices by (user, time), and where each user's begin. Returns two bool (n_events,).
    """
    n_users = len(start) - 1
    first = np.zeros(len(by_user), dtype=np.bool_)
    first_by_user = np.zeros(len(by_user), dtype=np.bool_)
    for chunk in prange((n_users + users_at_once - 1) // users_at_once):
        met_by = np.full(n_posts, -1, dtype=np.int64)
        for user in range(chunk * users_at_once, min((chunk + 1) * users_at_once, n_users)):
            begin, size = start[user], start[user + 1] - start[user]
            posts = np.empty(size, dtype=np.int32)
            for place in range(size):  # nothing but looking up: so the processor waits for many events at once
                posts[place] = post[by_user[begin + place]]
            for place in range(size):
                if met_by[posts[place]] != user:
                    met_by[posts[place]] = user
                    first_by_user[begin + place] = True
            for place in range(size):
                first[by_user[begin + place]] = first_by_user[begin + place]
    return first, first_by_user


@njit(parallel=True, cache=True, nogil=True)
def mark_followed(
    users: Ints,
    by_user: Places,
    start: Ints,
    post: NDArray[np.int32],
    strong: NDArray[np.bool_],
    n_posts: int,
    n_events: int,
    users_at_once: int,
) -> NDArray[np.bool_]:
    """Say of the first `n_events` events of `users` whether their user has any `strong` one on their post among them.

    bool (n_events,), False for those of others; by_user, start : as in mark_first.
    """
    followed = np.zeros(n_events, dtype=np.bool_)
    for chunk in prange((len(users) + users_at_once - 1) // users_at_once):
        met_by = np.full(n_posts, -1, dtype=np.int64)
        for user in users[chunk * users_at_once : (chunk + 1) * users_at_once]:
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
def latest_of_each(
    by_user: Places, start: Ints, known: NDArray[np.bool_], n_events: int, most: int
) -> tuple[Ints, Ints]:
    """Return each user's latest `most` of the `known` events among the first `n_events`, by (user, time).

    known : of events in the order of `by_user`. Returns where each user's begin, int64 (n_users + 1,), and the indices
    of the events.
    """
    n_users = len(start) - 1
    size = np.zeros(n_users + 1, dtype=np.int64)
    for user in prange(n_users):
        found = 0
        for place in range(start[user + 1] - 1, start[user] - 1, -1):
            if known[place] and by_user[place] < n_events:
                found += 1
                if found == most:
                    break
        size[user + 1] = found
    begin = np.cumsum(size)
    kept = np.empty(begin[n_users], dtype=np.int64)
    for user in prange(n_users):
        free = begin[user + 1]
        for place in range(start[user + 1] - 1, start[user] - 1, -1):
            if free == begin[user]:
                break
            if known[place] and by_user[place] < n_events:
                free -= 1
                kept[free] = by_user[place]
    return begin, kept


@njit(parallel=True, cache=True, nogil=True)
def posts_of_each(
    by_user: Places,
    start: Ints,
    known: NDArray[np.bool_],
    post: NDArray[np.int32],
    n_events: int,
    n_posts: int,
    users_at_once: int,
) -> tuple[Ints, NDArray[np.int32]]:
    """Return the posts of each user's `known` events among the first `n_events`, each once, ascending.

    known : in the order of by_user. Returns where each user's begin, int64 (n_users + 1,), and the posts, int32. A set
    of bits has no post twice, and an order.
    """
    n_users = len(start) - 1
    most = np.zeros(n_users + 1, dtype=np.int64)
    for user in prange(n_users):
        for place in range(start[user], start[user + 1]):
            most[user + 1] += known[place] and by_user[place] < n_events
    room = np.cumsum(most)
    posts, found = np.empty(room[n_users], dtype=np.int32), np.zeros(n_users + 1, dtype=np.int64)
    for chunk in prange((n_users + users_at_once - 1) // users_at_once):
        words = np.zeros((n_posts + 63) // 64, dtype=np.uint64)
        for user in range(chunk * users_at_once, min((chunk + 1) * users_at_once, n_users)):
            for place in range(start[user], start[user + 1]):
                if known[place] and by_user[place] < n_events:
                    touched = post[by_user[place]]
                    words[touched >> 6] |= np.uint64(1) << np.uint64(touched & 63)
            found[user + 1] = _empty_set(words, posts[room[user] : room[user + 1]])
    begin = np.cumsum(found)
    for user in range(n_users):  # what repeats has left gaps
        for at in range(begin[user + 1] - begin[user]):
            posts[begin[user] + at] = posts[room[user] + at]
    return begin, posts[: begin[n_users]]


@njit(cache=True, nogil=True)
def _empty_set(words: NDArray[np.uint64], out: NDArray[np.int32]) -> int:
    """Move the members of a set of bits to `out`, ascending; return how many there were."""
    size = 0
    for at in range(len(words)):
        word = words[at]
        words[at] = 0
        while word:
            lowest = word & (~word + np.uint64(1))
            out[size] = at * 64 + _bits(lowest - np.uint64(1))
            size += 1
            word ^= lowest
    return size


@njit(cache=True, nogil=True, inline="always")
def _bits(word: np.uint64) -> np.uint64:
    """Count the bits of a word, in pairs, fours and bytes."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)
