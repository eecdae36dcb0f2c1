"""User-kNN: what the users most like a user touched lately.

User-based collaborative filtering (Resnick et al., CSCW 1994) on sets: two users are alike by the cosine of the sets of
posts that they touched. Neighbours speak through their latest touches alone, as in session-kNN (Jannach and Ludewig,
RecSys 2017), since what neighbours touched long ago is old.

The cost is bounded by three caps: a user's latest 50 touches, a post's latest 300 users, 100 neighbours. So a user
costs at most 50 × 300 + 2 × 100 × 50 = 25,000 additions, and 163,000 users 4 thousand million, whatever the length of
the log. All that asks for posts in common is answered in one pass over them: two ways of weighing neighbours, and the
likeness to the pioneers of posts (pioneer.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.pioneers import places_of_pioneers
from batch.features.touches import latest_touches
from batch.features.view import View
from batch.kernels import sift
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
_COUNT_SHIFT = 48
_WORTH_UNIT = 2.0**-40
"""Posts in common are summed twice in one number: how many in its upper bits, what they are worth in its lower ones."""
_NOBODY = 2147483647

Pairs = NDArray[np.float32]


@dataclass(frozen=True)
class Touched:
    """Who touched what, capped.

    post_begin : int64 (n_users + 1,); post : int32, each user's posts. user_begin : int64 (n_posts + 1,); user : int32,
    each post's latest users. worth : int64 (n_posts,), what a post in common adds: one, and its worth in units.
    root : float64 (n_users,), one over the root of how many posts each touched, negative for a pioneer of some post.
    """

    post_begin: Ints
    post: NDArray[np.int32]
    user_begin: Ints
    user: NDArray[np.int32]
    worth: Ints
    root: NDArray[np.float64]


@dataclass(frozen=True)
class Fresh:
    """What of the touches is fresh, by user.

    begin : int64 (n_users + 1,). place : int64, in the pool. weight : float64, 0 to 1.
    """

    begin: Ints
    place: Ints
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Neighbourhood:
    """What posts in common tell of some users and the pool; float32, (len(users), n_pool).

    lately, fading : the share of each user's neighbours who touched a post, by likeness and recency, 0 to 1; `fading`
    lets touches fade by a power of time, and rare posts in common count for more. 0 for users who are like nobody.
    pioneer : likeness to the post's pioneer, rare posts counting for more; NaN for posts without one.
    """

    lately: Pairs
    fading: Pairs
    pioneer: Pairs


def neighbourhood(view: View, users: Ints) -> Neighbourhood:
    """Ask who has posts in common with `users`."""
    return view.for_users("neighbourhood", users, lambda: _neighbourhood(view, users))


def _neighbourhood(view: View, users: Ints) -> Neighbourhood:
    touched, lately, fading = view.once("touched", lambda: _touched_at(view))
    brought = places_of_pioneers(view)
    blank = view.once("no likeness", lambda: _blank(brought, len(view.pool)))
    found = Neighbourhood(*(np.zeros((len(users), len(view.pool)), dtype=np.float32) for _ in range(3)))
    _meet(
        users,
        (touched.post_begin, touched.post, touched.worth, touched.user_begin, touched.user, touched.root),
        (lately.begin, lately.place, lately.weight),
        (fading.begin, fading.place, fading.weight),
        brought,
        blank,
        NEIGHBOURS,
        found.lately,
        found.fading,
        found.pioneer,
    )
    return found


def _touched_at(view: View) -> tuple[Touched, Fresh, Fresh]:
    """Collect the touches of τ, and what of them is fresh: by halves, and by a power of their age."""
    events, kept = view.history.tables.events, latest_touches(view, TOUCHES)
    user, post = events.user[kept], events.post[kept]
    in_time = np.argsort(kept)  # events are ascending by time, so each post's latest users come last
    counts = np.bincount(post, minlength=view.n_posts)
    by_post = in_time[order_by(post[in_time], _begin(post, view.n_posts))]
    from_end = np.cumsum(counts)[post[by_post]] - 1 - np.arange(len(by_post))
    of_posts = by_post[from_end < USERS_OF_A_POST]
    worth = np.rint((counts + 1.0) ** -RARITY / _WORTH_UNIT).astype(np.int64)
    root = 1 / np.sqrt(np.maximum(np.bincount(user, minlength=view.n_users), 1))
    touched = Touched(
        post_begin=_begin(user, view.n_users),
        post=post,
        user_begin=_begin(post[of_posts], view.n_posts),
        user=user[of_posts],
        worth=worth + (np.int64(1) << _COUNT_SHIFT),
        root=np.where(np.diff(places_of_pioneers(view)[0])[:-1] > 0, -root, root),
    )
    return touched, _fresh(view, kept, _FORGOTTEN_H, _halved), _fresh(view, kept, FADED_AFTER_H, _faded)


def _halved(view: View, at_s: Ints) -> NDArray[np.float64]:
    return np.asarray(0.5 ** ((view.tau_s - at_s) / HOUR_S / HALF_LIFE_H))


def _faded(view: View, at_s: Ints) -> NDArray[np.float64]:
    return view.fade(at_s, FADE_POWER)


def _fresh(view: View, kept: Ints, forgotten_h: float, weight: Callable[[View, Ints], NDArray[np.float64]]) -> Fresh:
    events = view.history.tables.events
    fresh = kept[events.at_s[kept] > view.tau_s - forgotten_h * HOUR_S]
    fresh = fresh[view.place[events.post[fresh]] >= 0]
    begin = _begin(events.user[fresh], view.n_users)
    return Fresh(begin, view.place[events.post[fresh]], weight(view, events.at_s[fresh]))


def neighbour_scores(view: View, users: Ints) -> Pairs:
    """Return Neighbourhood.lately."""
    return neighbourhood(view, users).lately


def fading_neighbour_scores(view: View, users: Ints) -> Pairs:
    """Return Neighbourhood.fading."""
    return neighbourhood(view, users).fading


def _begin(owner: NDArray[np.int32], size: int) -> Ints:
    return np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=size)))).astype(np.int64)


def _blank(brought: tuple[Ints, Ints], n_pool: int) -> Pairs:
    """Return the likeness to pioneers of one who is like nobody; (n_pool,)."""
    begin, place = brought
    blank = np.zeros(n_pool, dtype=np.float32)
    blank[place[begin[-2] : begin[-1]]] = np.nan
    return blank


@njit(cache=True, nogil=True, inline="always")
def _enter(likeness: NDArray[np.float64], who: NDArray[np.int32], score: float, other: int) -> None:
    """Replace the worst of the nearest; of equals the first one stays."""
    likeness[0] = score
    who[0] = other
    sift(likeness, who, len(who))


@njit(cache=True, nogil=True)
def _speak(
    likeness: NDArray[np.float64],
    who: NDArray[np.int32],
    met: NDArray[np.int32],
    fresh: tuple[Ints, Ints, NDArray[np.float64]],
    out: NDArray[np.float32],
) -> None:
    """Add what the nearest touched lately to a user's row."""
    begin, place, weight = fresh
    total = 0.0
    for i in range(len(who)):
        if who[i] != _NOBODY:
            total += likeness[i]
    for i in range(len(who)):
        if who[i] != _NOBODY:
            other = met[who[i]]
            for j in range(begin[other], begin[other + 1]):
                out[place[j]] += likeness[i] / total * weight[j]


@njit(parallel=True, cache=True, nogil=True)
def _meet(  # noqa: C901
    users: Ints,
    touched: tuple[Ints, NDArray[np.int32], Ints, Ints, NDArray[np.int32], NDArray[np.float64]],
    lately: tuple[Ints, Ints, NDArray[np.float64]],
    fading: tuple[Ints, Ints, NDArray[np.float64]],
    brought: tuple[Ints, Ints],
    blank: Pairs,
    most: int,
    out_lately: Pairs,
    out_fading: Pairs,
    out_pioneer: Pairs,
) -> None:
    """Fill each user's rows; touched : post_begin, post, worth, user_begin, user, root of Touched."""
    post_begin, post, worth, user_begin, user, root = touched
    pioneer_begin, pioneer_place = brought
    n_users = len(post_begin) - 1
    for chunk in prange((len(users) + _CHUNK - 1) // _CHUNK):
        common = np.zeros(n_users, dtype=np.int64)
        met = np.empty(n_users + 1, dtype=np.int32)
        likeness, who = np.empty((2, most)), np.empty((2, most), dtype=np.int32)
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(users))):
            me = users[row]
            out_pioneer[row] = blank
            n_met = 0
            for i in range(post_begin[me], post_begin[me + 1]):
                added = worth[post[i]]
                for j in range(user_begin[post[i]], user_begin[post[i] + 1]):
                    other = user[j]
                    before = common[other]
                    common[other] = before + added
                    met[n_met] = other
                    n_met += before == 0
            mine = abs(root[me])
            likeness[:] = -np.inf
            who[:] = _NOBODY
            for i in range(n_met):
                other = met[i]
                both, of_other = common[other], root[other]
                common[other] = 0
                shared = np.float64(both & ((1 << _COUNT_SHIFT) - 1)) * _WORTH_UNIT
                if of_other < 0:
                    of_other = -of_other
                    for j in range(pioneer_begin[other], pioneer_begin[other + 1]):
                        out_pioneer[row, pioneer_place[j]] = shared * of_other * mine
                if other != me:
                    by_count, by_worth = np.float64(both >> _COUNT_SHIFT) * of_other, shared * of_other
                    if by_count > likeness[0, 0]:
                        _enter(likeness[0], who[0], by_count, i)
                    if by_worth > likeness[1, 0]:
                        _enter(likeness[1], who[1], by_worth, i)
            _speak(likeness[0], who[0], met, lately, out_lately[row])
            _speak(likeness[1], who[1], met, fading, out_fading[row])
