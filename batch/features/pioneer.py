"""Features of a user, a post and its pioneer: its author where that is a user, else who touched it first.

Who brings a post to a network says whom it will reach. A log without authors still tells who came first.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.neighbours import neighbourhood
from batch.features.pioneers import pioneers, places_of_pioneers
from batch.features.registry import feature
from batch.features.touches import latest_touches
from batch.features.view import View
from batch.passes import count_early
from batch.tables import HOUR_S, Floats, Ints

Pairs = NDArray[np.float32]

_TOUCHES = 200
"""Touches of a user, the latest ones, in which pioneers are counted."""
_PRIOR_TOUCHES = 20.0
_PRIOR_POSTS = 3.0
_FIRST_DAY_S = 24 * HOUR_S
_REMEMBERED_S = 90 * 24 * HOUR_S
_PRIOR_RATE, _PRIOR_OFFERS = 0.1, 2.0
_CHUNK = 64


@feature(
    "pioneer_likeness",
    "user×post",
    "A",
    "likeness of the user to the post's author, or else to who touched it first, by posts in common; missing for none",
)
def _likeness(view: View, users: Ints) -> Pairs:
    return neighbourhood(view, users).pioneer


@feature(
    "pioneer_lift",
    "user×post",
    "A",
    "logarithm of how many times the average the user touches posts of that author or first user, shrunk",
)
def _lift(view: View, users: Ints) -> Pairs:
    begin, brought, share = view.once("brought by pioneers", lambda: _brought(view))
    out = np.empty((len(users), len(view.pool)), dtype=np.float32)
    _fill_lift(users, begin, brought, share, *places_of_pioneers(view), _PRIOR_TOUCHES, out)
    return out


def _brought(view: View) -> tuple[Ints, Ints, Floats]:
    """Return the pioneers of each user's latest touches, by user, where each user's begin, and the pioneers' shares.

    int64 (n_users + 1,), int64 (n_touches,), float64 (n_users + 1,); n_users stands for posts without a pioneer.
    """
    begin, brought = _by_user(view, latest_touches(view, _TOUCHES))
    counts = np.bincount(brought, minlength=view.n_users + 1)
    return begin, brought, (counts + 1e-3) / (counts.sum() + 1e-3 * len(counts))


@feature(
    "pioneer_rate",
    "user×post",
    "A",
    "share of the posts of that author or first user, of 90 days, that the user has touched, shrunk; missing for none",
    needs_choices=True,
)
def _rate(view: View, users: Ints) -> Pairs:
    begin, brought, blank, n_offered = view.once("offered by pioneers", lambda: _offered(view))
    out = np.empty((len(users), len(view.pool)), dtype=np.float32)
    _fill_rate(users, begin, brought, n_offered, *places_of_pioneers(view), blank, out)
    return out


def _offered(view: View) -> tuple[Ints, Ints, Pairs, Ints]:
    """Return the pioneers of each user's latest touches of young posts, and what to compare them with.

    int64 (n_users + 1,), where each user's begin; int64 (n_touches,); the rate of who has touched nothing of a post's
    pioneer, float32 (n_pool,); how many young posts each pioneer has, int64 (n_users + 1,), the last one for none.
    """
    pioneer, kept = _pioneers_or_nobody(view), latest_touches(view, _TOUCHES)
    young = view.exists & (view.tau_s - view.dated_s < _REMEMBERED_S)
    begin, brought = _by_user(view, kept[young[view.history.tables.events.post[kept]]])
    n_offered = np.bincount(pioneer[young], minlength=view.n_users + 1)
    of_pool = pioneer[view.pool]
    blank = _PRIOR_RATE * _PRIOR_OFFERS / (n_offered[of_pool] + _PRIOR_OFFERS)
    blank[of_pool == view.n_users] = np.nan
    return begin, brought, blank.astype(np.float32), n_offered


def _by_user(view: View, kept: Ints) -> tuple[Ints, Ints]:
    """Return where each user's begin of some touches, ordered by user, int64 (n_users + 1,), and their pioneers."""
    events = view.history.tables.events
    begin = np.concatenate(([0], np.cumsum(np.bincount(events.user[kept], minlength=view.n_users))))
    return begin, _pioneers_or_nobody(view)[events.post[kept]]


def _pioneers_or_nobody(view: View) -> Ints:
    """Return the pioneer of each post, n_users for one without; (n_posts,)."""
    return np.where(pioneers(view) < 0, view.n_users, pioneers(view))


@feature(
    "pioneer_reach",
    "post",
    "AC",
    "first touches in their first day of earlier posts of that author or first user, on average, shrunk",
)
def _reach(view: View) -> Floats:
    history, born_s = view.history, view.dated_s
    at_s = history.tables.events.at_s
    touches = count_early(*history.firsts_by_post, at_s, view.n_events, born_s + _FIRST_DAY_S)
    pioneer = _pioneers_or_nobody(view)
    age_s = view.tau_s - born_s
    told = (age_s > _FIRST_DAY_S) & (age_s < _REMEMBERED_S)
    mean = touches[told].mean() if told.any() else 0.0
    n_posts = np.bincount(pioneer[told], minlength=view.n_users + 1)
    whole = np.bincount(pioneer[told], touches[told], minlength=view.n_users + 1)
    return np.asarray((whole + _PRIOR_POSTS * mean) / (n_posts + _PRIOR_POSTS))[pioneer]


@njit(parallel=True, cache=True, nogil=True)
def _fill_lift(
    users: Ints, begin: Ints, brought: Ints, share: Floats, place_begin: Ints, place: Ints, prior: float, out: Pairs
) -> None:
    """Fill each user's row; begin, brought, share : as _brought returns them; place_begin, place : of the pioneers.

    All pioneers of whom a user has touched nothing stand alike to the user.
    """
    n_chunks = (len(users) + _CHUNK - 1) // _CHUNK
    for chunk in prange(n_chunks):
        counts = np.zeros(len(share))
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(users))):
            me = users[row]
            total = begin[me + 1] - begin[me] + prior
            out[row] = np.float32(np.log(prior / total))
            for i in range(begin[me], begin[me + 1]):
                counts[brought[i]] += 1
            for i in range(begin[me], begin[me + 1]):
                pioneer = brought[i]
                if counts[pioneer] > 0:
                    lift = np.log((counts[pioneer] + prior * share[pioneer]) / total / share[pioneer])
                    for j in range(place_begin[pioneer], place_begin[pioneer + 1]):
                        out[row, place[j]] = lift
                    counts[pioneer] = 0.0


@njit(parallel=True, cache=True, nogil=True)
def _fill_rate(
    users: Ints, begin: Ints, brought: Ints, n_offered: Ints, place_begin: Ints, place: Ints, blank: Pairs, out: Pairs
) -> None:
    """Fill each user's row; begin, brought, n_offered, blank : as _offered returns them."""
    for chunk in prange((len(users) + _CHUNK - 1) // _CHUNK):
        counts = np.zeros(len(n_offered))
        for row in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(users))):
            me = users[row]
            out[row] = blank
            for i in range(begin[me], begin[me + 1]):
                counts[brought[i]] += 1
            for i in range(begin[me], begin[me + 1]):
                pioneer = brought[i]
                if counts[pioneer] > 0 and pioneer < len(n_offered) - 1:
                    touched = counts[pioneer] + _PRIOR_RATE * _PRIOR_OFFERS
                    for j in range(place_begin[pioneer], place_begin[pioneer + 1]):
                        out[row, place[j]] = touched / (n_offered[pioneer] + _PRIOR_OFFERS)
                counts[pioneer] = 0.0
