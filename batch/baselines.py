"""Baselines: rankers without training, which a trained one has to beat."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.decay import half_life_at
from batch.features.pair import knn, knn_trend
from batch.features.vectors import als, bpr, user_knn
from batch.features.view import View
from batch.tables import HOUR_S, Floats, Ints

_HINT = 1e-9
"""How much popularity counts beside similarity: only where similarity says nothing."""
_FADE_POWER = 2.0
_TREND_WEIGHT = 0.3
"""How much popularity counts beside neighbours; both are shares of touches. Best of .1 to 3 on two months of a log."""

PostBaseline = Callable[[View], Floats]
PairBaseline = Callable[[View, Ints], NDArray[Any]]


def events_in(view: View, hours: float | None) -> Floats:
    """Count events by post in the last `hours` (None: ever), every event of every kind; float64, (n_posts,)."""
    span = view.window(hours) if hours is not None else slice(0, view.n_events)
    return np.bincount(view.history.tables.events.post[span], minlength=view.n_posts).astype(np.float64)


def fading(view: View) -> Floats:
    """Return each post's share of the last week's first touches, each weighted by 1 / (1 + age in hours)²; (n_posts,).

    Popularity that is quick to forget and still tells old posts apart, at any refresh interval.
    """
    total = view.faded(_FADE_POWER)
    return np.asarray(total / max(total.sum(), 1e-9))


def _newest(view: View) -> Floats:
    return np.nan_to_num(view.dated_s - view.tau_s, nan=-1e12) / HOUR_S


def _at_this_hour(view: View) -> Floats:
    """Count the last week's events at the hour of day of τ, and those of the two hours beside it."""
    span = view.window(168)
    events = view.history.tables.events
    apart = (events.at_s[span] // HOUR_S - view.tau_s // HOUR_S) % 24
    near = (apart <= 1) | (apart == 23)
    return np.bincount(events.post[span][near], minlength=view.n_posts).astype(np.float64)


POST_BASELINES: dict[str, PostBaseline] = {
    "popular_all": lambda view: events_in(view, None),
    "popular_7d": lambda view: events_in(view, 168),
    "popular_24h": lambda view: events_in(view, 24),
    "popular_6h": lambda view: events_in(view, 6),
    "popular_1h": lambda view: events_in(view, 1),
    "popular_decay": lambda view: view.decayed(half_life_at(view)),
    "popular_hour": _at_this_hour,
    "newest": _newest,
    "random": lambda view: np.random.default_rng(view.tau_s).random(view.n_posts),
}
"""Scores by post; float64 (n_posts,)."""


def _hint(view: View) -> Floats:
    return np.asarray(_HINT * view.trend)


def _neighbours_trend(view: View) -> Floats:
    return np.asarray(_TREND_WEIGHT * fading(view))


PAIR_BASELINES: dict[str, tuple[PairBaseline, PostBaseline]] = {
    "item_knn": (knn, _hint),
    "item_knn_recency": (knn_trend, _hint),
    "user_knn": (user_knn, _hint),
    "user_knn_trend": (user_knn, _neighbours_trend),
    "als": (als, _hint),
    "bpr": (bpr, _hint),
}
"""Scores by user and post of the pool, (len(users), n_pool), and what is added by post."""
