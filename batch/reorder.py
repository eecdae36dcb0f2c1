"""The compiled loop of the slate rules: reorders the best posts of every user and hour (see batch.rules)."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.tables import Ints

DIVERSE_AMONG = 50
"""How many of the best posts compete for a place where diversity counts."""
_NONE = -1


@njit(cache=True, nogil=True, inline="always")
def _mixed(key: np.uint64) -> np.uint64:
    """Scramble 64 bits (splitmix64: Steele, Lea and Flood, OOPSLA 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _fits(post: int, row: NDArray[np.int32], filled: int, groups: Ints, most: Ints) -> bool:
    """Say whether `post` may stand beside the first `filled` posts of `row`; groups and most as in `reorder`."""
    for kind in range(groups.shape[0]):
        if most[kind] > 0 and groups[kind, post] >= 0:
            same = 0
            for place in range(filled):
                same += groups[kind, row[place]] == groups[kind, post]
            if same >= most[kind]:
                return False
    return True


@njit(cache=True, nogil=True)
def _next_best(
    best: NDArray[np.int32],
    taken: NDArray[np.bool_],
    row: NDArray[np.int32],
    filled: int,
    groups: Ints,
    most: Ints,
    alike: NDArray[np.float32],
    diversity: float,
) -> int:
    """Return the place in `best` of the post to come next, -1 where none fits."""
    found, found_worth = _NONE, -np.inf
    for place in range(len(best)):
        if best[place] < 0 or (found >= 0 and place >= DIVERSE_AMONG):
            break
        if taken[place] or not _fits(best[place], row, filled, groups, most):
            continue
        if diversity == 0.0 or place >= DIVERSE_AMONG:
            return place
        worth = (1.0 - diversity) * (1.0 - place / DIVERSE_AMONG) - diversity * alike[place]
        if worth > found_worth:
            found, found_worth = place, worth
    return found


@njit(cache=True, nogil=True)
def _explored(
    usable: NDArray[np.bool_],
    row: NDArray[np.int32],
    filled: int,
    groups: Ints,
    most: Ints,
    explore: Ints,
    explore_key: NDArray[np.uint64],
    key: np.uint64,
) -> int:
    """Return the post to explore: the first that fits, in an order that user and bucket shuffle; -1 for none.

    Each post is drawn by its own hash (rendezvous hashing: Thaler and Ravishankar, 1998), so a post that leaves changes
    the slates alone that held it.
    """
    found, highest = _NONE, np.uint64(0)
    for at in range(len(explore)):
        post = explore[at]
        drawn = _mixed(key ^ explore_key[at])
        if (found >= 0 and drawn <= highest) or not usable[post]:
            continue
        fits = _fits(post, row, filled, groups, most)
        for place in range(filled):
            fits = fits and row[place] != post
        if fits:
            found, highest = post, drawn
    return found


@njit(cache=True, nogil=True)
def _best_beyond(
    pair: NDArray[np.float64],
    topic: Ints,
    topic_score: NDArray[np.float64],
    hour_score: NDArray[np.float64],
    usable: NDArray[np.bool_],
    row: NDArray[np.int32],
    filled: int,
    groups: Ints,
    most: Ints,
) -> int:
    """Return the best of all posts that fits, for one user and hour; -1 where there is none. Of equals the first."""
    found, highest = _NONE, -np.inf
    for post in range(len(pair)):
        if usable[post]:
            score = (pair[post] + topic_score[topic[post]]) + hour_score[post]
            if score > highest and _fits(post, row, filled, groups, most):
                here = False
                for place in range(filled):
                    here |= row[place] == post
                if not here:
                    found, highest = post, score
    return found


@njit(parallel=True, cache=True, nogil=True)
def reorder(  # noqa: C901 - one loop nest, which the compiler wants in one place
    best: NDArray[np.int32],
    pair: NDArray[np.float64],
    topic: Ints,
    topic_score: NDArray[np.float64],
    hour_score: NDArray[np.float64],
    excluded: Ints,
    excluded_begin: Ints,
    groups: Ints,
    most: Ints,
    within: int,
    beyond: bool,
    vectors: NDArray[np.float32],
    diversity: float,
    explore_places: int,
    explore: Ints,
    explore_key: NDArray[np.uint64],
    slate_key: NDArray[np.uint64],
    top_n: int,
    out: NDArray[np.int32],
    explored: Ints,
) -> None:
    """Fill the first `within` places by the rules and the rest in order.

    best : (n_users, n_hours, depth), places in the pool, best first, -1 for none; pair to excluded_begin are what it
    was picked from, as in batch.kernels.best_posts. groups : (n_kinds, n_pool), -1 for a post in no group; at most
    most[kind] of a group, 0 for no limit. beyond : where no post of `best` keeps the limits, look through all others
    (else, and where there is none, the best one that is left is taken). vectors : (n_pool, dims), unit rows or zero.
    explore : places in the pool; explore_key : (n_explore,); slate_key : (n_users, n_hours). out : (n_users, n_hours,
    width), width at least `within`. explored : (n_users,), how many of the first `top_n` places explore.
    """
    n_users, n_hours, depth = best.shape
    width, n_pool = out.shape[2], groups.shape[1]
    hour_score = np.ascontiguousarray(hour_score.T)
    for user in prange(n_users):
        usable = np.ones(n_pool, dtype=np.bool_)
        for i in range(excluded_begin[user], excluded_begin[user + 1]):
            usable[excluded[i]] = False
        taken = np.empty(depth, dtype=np.bool_)
        alike = np.empty(depth, dtype=np.float32)
        of_topic = np.empty(topic_score.shape[1])
        count = 0
        for hour in range(n_hours):
            of_slate, row = best[user, hour], out[user, hour]
            taken[:] = False
            alike[:] = 0.0
            row[:] = _NONE
            for place in range(within):
                post = _NONE
                if place >= within - explore_places:
                    key = slate_key[user, hour]
                    post = _explored(usable, row, place, groups, most, explore, explore_key, key)
                    count += post >= 0 and place < top_n
                if post < 0:
                    at = _next_best(of_slate, taken, row, place, groups, most, alike, diversity)
                    post = of_slate[at] if at >= 0 else _NONE
                if post < 0 and beyond and of_slate[depth - 1] >= 0:
                    of_topic[:] = topic_score[user, :, hour]
                    post = _best_beyond(pair[user], topic, of_topic, hour_score[hour], usable, row, place, groups, most)
                if post < 0:
                    for other in range(depth):
                        if of_slate[other] >= 0 and not taken[other]:
                            post = of_slate[other]
                            break
                if post < 0:
                    break
                row[place] = post
                for other in range(depth):
                    taken[other] |= of_slate[other] == post
                if diversity > 0.0:
                    for other in range(min(depth, DIVERSE_AMONG)):
                        if of_slate[other] >= 0 and not taken[other]:
                            cosine = np.float32(0.0)
                            for dim in range(vectors.shape[1]):
                                cosine += vectors[post, dim] * vectors[of_slate[other], dim]
                            alike[other] = max(alike[other], cosine)
            place = within
            for other in range(depth):
                if place < width and of_slate[other] >= 0 and not taken[other]:
                    row[place] = of_slate[other]
                    place += 1
        explored[user] = count
