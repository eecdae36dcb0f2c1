"""How alike the slates are: the share of users with a history who get the five posts that everybody gets.

A ranker that tells users apart gives few of them the same five. One that broke (all features missing, a join that found
nothing) orders posts by popularity alone, and looks well on every other count.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.view import View
from batch.slate import ActedOn
from batch.tables import Ints

PLACES = 5
_FEWEST_USERS = 20
_COMMON = 200
"""Posts of the common order that are looked through for a user's five."""
_USERS = 4096
"""Users at once, to bound memory."""


def share_alike(top: NDArray[np.int32], acted: ActedOn, view: View) -> float | None:
    """Return the share of users whose posts are the first five of the common order that they may be shown.

    The common order goes by how many of the users who may be shown a post get it, so that it does not matter that users
    miss what they have acted on. Counted are users with a history who could be shown ten posts; None where there are
    fewer than 20 of them. top : int32 (n_users, PLACES or less), indices of posts, -1 for none.
    """
    excluded = _count_within(acted.begin, acted.post, view.place >= 0)
    counted = (view.end > view.history.start[:-1]) & (len(view.pool) - excluded >= 2 * PLACES)
    if counted.sum() < _FEWEST_USERS:
        return None
    shown = np.bincount(top[counted][top[counted] >= 0], minlength=view.n_posts)
    may = counted.sum() - _count_posts(acted.begin, acted.post, counted, view.n_posts)
    common = np.argsort(-shown / np.maximum(may, 1), kind="stable")[:_COMMON]
    rank = np.full(view.n_posts, _COMMON)
    rank[common] = np.arange(len(common))
    alike = [
        _alike(top[begin : begin + _USERS], acted, begin, rank, len(common))[counted[begin : begin + _USERS]]
        for begin in range(0, view.n_users, _USERS)
    ]
    return float(np.concatenate(alike).mean())


def _alike(
    top: NDArray[np.int32], acted: ActedOn, first: int, rank: NDArray[np.int64], n_common: int
) -> NDArray[np.bool_]:
    """Say of each of the users from `first` on whether the user gets what the common order says."""
    begin = acted.begin[first : first + len(top) + 1]
    user = np.repeat(np.arange(len(top)), np.diff(begin))
    of_acted = rank[acted.post[begin[0] : begin[-1]]]
    free = np.ones((len(top), n_common + 1), dtype=bool)
    free[user, np.minimum(of_acted, n_common)] = False
    free[:, n_common] = False
    expected = free & (np.cumsum(free, axis=1) <= top.shape[1])
    got = np.zeros_like(expected)
    got[np.arange(len(top))[:, None], np.minimum(np.where(top >= 0, rank[top], n_common), n_common)] = True
    return np.asarray((expected == got).all(axis=1))


@njit(parallel=True, cache=True, nogil=True)
def _count_within(begin: Ints, post: NDArray[np.integer], within: NDArray[np.bool_]) -> Ints:
    """Count how many of each user's posts are `within`, (n_posts,)."""
    counts = np.zeros(len(begin) - 1, dtype=np.int64)
    for user in prange(len(counts)):
        for at in range(begin[user], begin[user + 1]):
            counts[user] += within[post[at]]
    return counts


@njit(cache=True, nogil=True)
def _count_posts(begin: Ints, post: NDArray[np.integer], counted: NDArray[np.bool_], n_posts: int) -> Ints:
    """Count the users who are `counted` of each post."""
    counts = np.zeros(n_posts, dtype=np.int64)
    for user in range(len(counted)):
        if counted[user]:
            for at in range(begin[user], begin[user + 1]):
                counts[post[at]] += 1
    return counts
