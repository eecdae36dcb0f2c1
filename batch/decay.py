"""The half-life with which popularity predicts best, chosen on the past: of a log where posts live long it is long."""

import numpy as np

from batch.features.view import DECAYED_HALF_LIVES, History, View
from batch.passes import sums_halved_at
from batch.tables import HOUR_S, Floats, Ints

HALF_LIVES_H = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 72.0)
_DAYS = 7
_MOMENTS = 48
_PLACES = 5
_MOST_TOUCHES = 200
"""Touches after one moment that are looked at: they tell enough, and keep long logs quick."""


def half_life_at(view: View) -> float:
    """Return the half-life, in hours, whose popular posts would have been touched most in the week before τ's day.

    One choice serves a whole day, so that it is made once a day and not at every refresh.
    """
    history, day_s = view.history, view.tau_s // (24 * HOUR_S) * 24 * HOUR_S
    return history.once(f"half-life {day_s}", lambda: _choose(history, day_s))


def _choose(history: History, day_s: int) -> float:
    step = _DAYS * 24 / _MOMENTS
    moments = [day_s - round(step * at * HOUR_S) for at in range(_MOMENTS, 0, -1)]
    events = history.tables.events
    decayed = [
        sums_halved_at(
            events.at_s,
            events.post,
            history.first,
            np.array(moments),
            half_life_h * HOUR_S,
            DECAYED_HALF_LIVES * half_life_h * HOUR_S,
            len(history.tables.posts.ids),
        )
        for half_life_h in HALF_LIVES_H
    ]
    by_moment = np.stack(decayed, axis=1)
    hits = sum(
        (_hits(history, moment_s, day_s, of_moment) for moment_s, of_moment in zip(moments, by_moment, strict=True)),
        np.zeros(len(HALF_LIVES_H)),
    )
    return HALF_LIVES_H[int(np.argmax(hits))] if hits.any() else 8.0


def _hits(history: History, moment_s: int, day_s: int, decayed: Floats) -> Floats:
    """Count the first touches of the hour after a moment that each half-life has among its first places.

    decayed : popularity at the moment by half-life; (n_half_lives, n_posts).
    """
    view = View(history, moment_s)
    events = history.tables.events
    end = int(np.searchsorted(events.at_s, min(moment_s + HOUR_S, day_s), side="left"))
    at = view.n_events + np.flatnonzero(history.first[view.n_events : end])[:_MOST_TOUCHES]
    at = at[view.exists[events.post[at]]]
    if not len(at):
        return np.zeros(len(HALF_LIVES_H))
    user, post = events.user[at].astype(np.int64), events.post[at].astype(np.int64)
    seen = _seen(view, user)
    return np.array([_found(view, popularity, user, post, seen) for popularity in decayed], dtype=np.float64)


def _seen(view: View, user: Ints) -> Ints:
    """Return user × n_posts + post of what the users had touched by then, ascending."""
    events = view.history.tables.events
    rows = [view.history.by_user[view.history.start[u] : view.end[u]] for u in np.unique(user)]
    past = np.concatenate(rows)
    return np.unique(events.user[past].astype(np.int64) * view.n_posts + events.post[past])


def _found(view: View, popularity: Floats, user: Ints, post: Ints, seen: Ints) -> int:
    """Count the touches of posts that fewer than five better ones, new to the user, stand before."""
    score = np.where(view.exists, popularity, -1.0)
    order = np.argsort(-score, kind="stable")
    rank = np.empty(view.n_posts, dtype=np.int64)
    rank[order] = np.arange(view.n_posts)
    near = rank[seen % view.n_posts]
    before = [
        int((near[np.searchsorted(seen, u * view.n_posts) : np.searchsorted(seen, (u + 1) * view.n_posts)] < r).sum())
        for u, r in zip(user, rank[post], strict=True)
    ]
    return int(((rank[post] - np.array(before)) < _PLACES).sum())
