"""Features of a user, a post and its pioneer: its author where that is a user, else who touched it first.

Who brings a post to a network says whom it will reach. A log without authors still tells who came first.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.neighbours import Touched, fading_touched, worth_of
from batch.features.registry import feature
from batch.features.touches import latest_touches
from batch.features.view import View
from batch.tables import HOUR_S, Floats, Ints

Pairs = NDArray[np.float32]

_TOUCHES = 200
"""Touches of a user, the latest ones, in which pioneers are counted."""
_PRIOR_TOUCHES = 20.0
_PRIOR_POSTS = 3.0
_FIRST_DAY_S = 24 * HOUR_S
_REMEMBERED_S = 90 * 24 * HOUR_S
_CHUNK = 64


def pioneers(view: View) -> Ints:
    """Return the pioneer of each post as of τ, the index of a user, -1 for none; shape (n_posts,)."""
    return view.once("pioneers", lambda: _pioneers(view))


def _pioneers(view: View) -> Ints:
    history = view.history
    order, start = history.firsts_by_post
    pioneer = np.full(view.n_posts, -1, dtype=np.int64)
    met = np.flatnonzero(start[1:] > start[:-1])
    first = order[start[met]]
    known = first < view.n_events
    pioneer[met[known]] = history.tables.events.user[first[known]]
    return np.where(history.author_user >= 0, history.author_user, pioneer)


@feature(
    "pioneer_likeness",
    "user×post",
    "A",
    "likeness of the user to the post's author, or else to who touched it first, by posts in common; missing for none",
)
def _likeness(view: View, users: Ints) -> Pairs:
    touched = fading_touched(view)
    out = np.zeros((len(users), len(view.pool)), dtype=np.float32)
    _add_likeness(users, *_sets(touched), worth_of(touched), pioneers(view)[view.pool], out)
    return out


def _sets(touched: Touched) -> tuple[Ints, Ints, Ints, Ints]:
    return touched.post_begin, touched.post, touched.user_begin, touched.user


@feature(
    "pioneer_lift",
    "user×post",
    "A",
    "logarithm of how many times the average the user touches posts of that author or first user, shrunk",
)
def _lift(view: View, users: Ints) -> Pairs:
    begin, brought, share = view.once("brought by pioneers", lambda: _brought(view))
    out = np.zeros((len(users), len(view.pool)), dtype=np.float32)
    _add_lift(users, begin, brought, share, pioneers(view)[view.pool], _PRIOR_TOUCHES, out)
    return out


def _brought(view: View) -> tuple[Ints, Ints, Floats]:
    """Return the pioneers of each user's latest touches, by user, where each user's begin, and the pioneers' shares.

    int64 (n_users + 1,), int64 (n_touches,), float64 (n_users + 1,), the last one for posts without a pioneer.
    """
    events, kept = view.history.tables.events, latest_touches(view, _TOUCHES)
    brought = pioneers(view)[events.post[kept]]
    begin = np.concatenate(([0], np.cumsum(np.bincount(events.user[kept], minlength=view.n_users))))
    counts = np.bincount(np.where(brought < 0, view.n_users, brought), minlength=view.n_users + 1)
    return begin, brought, (counts + 1e-3) / (counts.sum() + 1e-3 * len(counts))


@feature(
    "pioneer_reach",
    "post",
    "AC",
    "first touches in their first day of earlier posts of that author or first user, on average, shrunk",
)
def _reach(view: View) -> Floats:
    history, born_s = view.history, view.dated_s
    order, _ = history.firsts_by_post
    events = history.tables.events
    post = events.post[order]
    early = (order < view.n_events) & (events.at_s[order] < born_s[post] + _FIRST_DAY_S)
    touches = np.bincount(post[early], minlength=view.n_posts).astype(np.float64)
    pioneer = np.where(pioneers(view) < 0, view.n_users, pioneers(view))
    age_s = view.tau_s - born_s
    told = (age_s > _FIRST_DAY_S) & (age_s < _REMEMBERED_S)
    mean = touches[told].mean() if told.any() else 0.0
    n_posts = np.bincount(pioneer[told], minlength=view.n_users + 1)
    whole = np.bincount(pioneer[told], touches[told], minlength=view.n_users + 1)
    return np.asarray((whole + _PRIOR_POSTS * mean) / (n_posts + _PRIOR_POSTS))[pioneer]


@njit(parallel=True, cache=True, nogil=True)
def _add_likeness(
    users: Ints,
    post_begin: Ints,
    post: Ints,
    user_begin: Ints,
    user: Ints,
    worth: Floats,
    pioneer: Ints,
    out: Pairs,
) -> None:
    """Fill each user's row; the arrays are those of Touched, pioneer : int64 (n_pool,), out : (len(users), n_pool)."""
    n_users = len(post_begin) - 1
    n_chunks = (len(users) + _CHUNK - 1) // _CHUNK
    for chunk in prange(n_chunks):
        common = np.zeros(n_users)
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(users))):
            me = users[row]
            for i in range(post_begin[me], post_begin[me + 1]):
                for j in range(user_begin[post[i]], user_begin[post[i] + 1]):
                    common[user[j]] += worth[post[i]]
            mine = post_begin[me + 1] - post_begin[me]
            for place in range(len(pioneer)):
                other = pioneer[place]
                if other < 0:
                    out[row, place] = np.nan
                elif common[other] > 0:
                    theirs = post_begin[other + 1] - post_begin[other]
                    out[row, place] = common[other] / np.sqrt(np.float64(mine * theirs))
            for i in range(post_begin[me], post_begin[me + 1]):
                for j in range(user_begin[post[i]], user_begin[post[i] + 1]):
                    common[user[j]] = 0.0


@njit(parallel=True, cache=True, nogil=True)
def _add_lift(users: Ints, begin: Ints, brought: Ints, share: Floats, pioneer: Ints, prior: float, out: Pairs) -> None:
    """Fill each user's row; begin, brought, share : as _brought returns them, pioneer : int64 (n_pool,)."""
    n_users = len(begin) - 1
    n_chunks = (len(users) + _CHUNK - 1) // _CHUNK
    for chunk in prange(n_chunks):
        counts = np.zeros(n_users + 1)
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(users))):
            me = users[row]
            for i in range(begin[me], begin[me + 1]):
                counts[brought[i]] += 1  # -1 is the last place
            total = begin[me + 1] - begin[me] + prior
            for place in range(len(pioneer)):
                of_pioneer = share[pioneer[place]]
                out[row, place] = np.log((counts[pioneer[place]] + prior * of_pioneer) / total / of_pioneer)
            for i in range(begin[me], begin[me + 1]):
                counts[brought[i]] = 0.0
