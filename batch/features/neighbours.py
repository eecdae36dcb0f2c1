"""User-kNN: what the users most like a user touched lately.

User-based collaborative filtering (Resnick et al., CSCW 1994) on sets: two users are alike by the cosine of the sets of
posts that they touched. Neighbours speak through their latest touches alone, as in session-kNN (Jannach and Ludewig,
RecSys 2017), since what neighbours touched long ago is old.

The cost is bounded by three caps: a user's latest 50 touches, a post's latest 300 users, 100 neighbours. So a user
costs at most 50 × 300 + 100 × 50 = 20,000 additions, and 163,000 users 3.3 thousand million: about a minute on one
core, whatever the length of the log. Ordering the log is one pass a run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.touches import latest_touches
from batch.features.view import View
from batch.passes import order_by
from batch.tables import HOUR_S, Ints

TOUCHES = 50
USERS_OF_A_POST = 300
NEIGHBOURS = 100
HALF_LIFE_H = 8.0
"""A neighbour's touch counts half as much every so many hours."""
FADE_POWER, FADED_AFTER_H = 1.5, 168.0
RARITY = 0.5
"""A post in common counts by the number of users who touched it to the power of minus this."""
_FORGOTTEN_H = 12 * HALF_LIFE_H
_CHUNK = 64


@dataclass(frozen=True)
class Touched:
    """Who touched what, capped, and what of it is fresh.

    post_begin : int64 (n_users + 1,); post : int64, each user's posts. user_begin : int64 (n_posts + 1,); user : int64,
    each post's latest users. fresh_begin : int64 (n_users + 1,); fresh_place : int64, places in the pool;
    fresh_weight : float64, 0 to 1. count : float64 (n_posts,), in how many users' posts each post is, and one more.
    """

    post_begin: Ints
    post: Ints
    user_begin: Ints
    user: Ints
    fresh_begin: Ints
    fresh_place: Ints
    fresh_weight: NDArray[np.float64]
    count: NDArray[np.float64]


def touched_at(view: View, recency: Callable[[Ints], NDArray[np.float64]], forgotten_h: float) -> Touched:
    """Collect the touches of a moment; `recency` gives the weight of touches at given seconds."""
    events, kept = view.history.tables.events, latest_touches(view, TOUCHES)
    user, post = events.user[kept].astype(np.int64), events.post[kept].astype(np.int64)
    in_time = np.argsort(kept)  # events are ascending by time, so each post's latest users come last
    post_begin = _begin(post, view.n_posts)
    by_post = in_time[order_by(post[in_time].astype(np.int32), post_begin)]
    from_end = np.cumsum(np.bincount(post, minlength=view.n_posts))[post[by_post]] - 1 - np.arange(len(by_post))
    of_posts = by_post[from_end < USERS_OF_A_POST]
    fresh = (events.at_s[kept] > view.tau_s - forgotten_h * HOUR_S) & (view.place[post] >= 0)
    return Touched(
        post_begin=_begin(user, view.n_users),
        post=post,
        user_begin=_begin(post[of_posts], view.n_posts),
        user=user[of_posts],
        fresh_begin=_begin(user[fresh], view.n_users),
        fresh_place=view.place[post[fresh]],
        fresh_weight=recency(events.at_s[kept[fresh]]),
        count=np.bincount(post, minlength=view.n_posts).astype(np.float64) + 1.0,
    )


def neighbour_scores(view: View, users: Ints) -> NDArray[np.float32]:
    """Return the share of each user's neighbours who touched each post, by likeness and recency.

    float32, shape (len(users), n_pool), 0 to 1; 0 for users who are like nobody.
    """

    def recency(at_s: Ints) -> NDArray[np.float64]:
        return np.asarray(0.5 ** ((view.tau_s - at_s) / HOUR_S / HALF_LIFE_H))

    touched = view.once("touched", lambda: touched_at(view, recency, _FORGOTTEN_H))
    return _scores(view, users, touched, 0.0)


def fading_neighbour_scores(view: View, users: Ints) -> NDArray[np.float32]:
    """Do as neighbour_scores, but let touches fade by a power of time, and rare posts in common count for more."""
    return _scores(view, users, fading_touched(view), RARITY)


def fading_touched(view: View) -> Touched:
    """Return the touches of τ, weighted by a power of their age."""
    return view.once(
        "touched, fading", lambda: touched_at(view, lambda at_s: view.fade(at_s, FADE_POWER), FADED_AFTER_H)
    )


def worth_of(touched: Touched, rarity: float = RARITY) -> NDArray[np.float64]:
    """Return how much each post in common counts, by how few touched it; shape (n_posts,)."""
    return np.asarray(touched.count**-rarity, dtype=np.float64)


def _scores(view: View, users: Ints, touched: Touched, rarity: float) -> NDArray[np.float32]:
    out = np.zeros((len(users), len(view.pool)), dtype=np.float32)
    _add_neighbours(
        users,
        touched.post_begin,
        touched.post,
        worth_of(touched, rarity),
        touched.user_begin,
        touched.user,
        touched.fresh_begin,
        touched.fresh_place,
        touched.fresh_weight,
        NEIGHBOURS,
        out,
    )
    return out


def _begin(owner: Ints, size: int) -> Ints:
    return np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=size)))).astype(np.int64)


@njit(cache=True, nogil=True)
def _nearest(likeness: NDArray[np.float64], most: int) -> Ints:
    """Return the places of the `most` largest values, in order; of equals the first ones."""
    if len(likeness) <= most:
        return np.arange(len(likeness))
    least = np.partition(likeness, len(likeness) - most)[len(likeness) - most]
    spare = most - np.sum(likeness > least)
    found = np.empty(most, dtype=np.int64)
    n_found = 0
    for place in range(len(likeness)):
        equal = likeness[place] == least
        if likeness[place] > least or (equal and spare > 0):
            spare -= np.int64(equal)
            found[n_found] = place
            n_found += 1
    return found


@njit(parallel=True, cache=True, nogil=True)
def _add_neighbours(
    users: Ints,
    post_begin: Ints,
    post: Ints,
    worth: NDArray[np.float64],
    user_begin: Ints,
    user: Ints,
    fresh_begin: Ints,
    fresh_place: Ints,
    fresh_weight: NDArray[np.float64],
    most: int,
    out: NDArray[np.float32],
) -> None:
    """Add each user's row to `out`; the arrays are those of Touched. worth : of a post in common, (n_posts,)."""
    n_chunks = (len(users) + _CHUNK - 1) // _CHUNK
    for chunk in prange(n_chunks):
        common = np.zeros(len(post_begin) - 1)
        met = np.empty(len(post_begin) - 1, dtype=np.int64)
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(users))):
            me = users[row]
            n_met = 0
            for i in range(post_begin[me], post_begin[me + 1]):
                for j in range(user_begin[post[i]], user_begin[post[i] + 1]):
                    other = user[j]
                    if other != me:
                        if common[other] == 0:
                            met[n_met] = other
                            n_met += 1
                        common[other] += worth[post[i]]
            likeness = np.empty(n_met)
            mine = post_begin[me + 1] - post_begin[me]
            for i in range(n_met):
                theirs = post_begin[met[i] + 1] - post_begin[met[i]]
                likeness[i] = common[met[i]] / np.sqrt(np.float64(mine * theirs))
                common[met[i]] = 0
            nearest = _nearest(likeness, most)
            total = likeness[nearest].sum()
            for i in nearest:
                other = met[i]
                for j in range(fresh_begin[other], fresh_begin[other + 1]):
                    out[row, fresh_place[j]] += likeness[i] / total * fresh_weight[j]
