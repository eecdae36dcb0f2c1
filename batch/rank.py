"""Rankers: each scores users × posts × buckets as A(user, post) + B(user, topic, bucket) + C(post, bucket)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from batch.decay import half_life_at
from batch.features.pair import knn, knn_trend
from batch.features.view import View
from batch.model import Model
from batch.scorer import SeparableScorer
from batch.tables import HOUR_S, Floats, Ints


class Scorer(Protocol):
    """The parts of the scores at one moment, posts in the order of the view's pool. Higher is better."""

    @property
    def hour_scores(self) -> Floats:
        """Return C; float64, shape (n_pool, n_buckets)."""

    def pair_scores(self, users: Ints) -> Floats:
        """Return A; float64, shape (len(users), n_pool)."""

    def topic_scores(self, users: Ints) -> Floats:
        """Return B; float64, shape (len(users), n_topics, n_buckets)."""


@dataclass(frozen=True)
class _Baseline:
    """A ranker without training: a score by post, the same for all buckets, and perhaps one by pair."""

    hour_scores: Floats
    pair: Callable[[Ints], Floats]
    n_topics: int

    def pair_scores(self, users: Ints) -> Floats:
        return self.pair(users)

    def topic_scores(self, users: Ints) -> Floats:
        return np.zeros((len(users), self.n_topics, self.hour_scores.shape[1]))


def events_in(view: View, hours: float | None) -> Floats:
    """Count events by post in the last `hours` (None: ever), every event of every kind; float64, (n_posts,)."""
    span = view.window(hours) if hours is not None else slice(0, view.n_events)
    return np.bincount(view.history.tables.events.post[span], minlength=view.n_posts).astype(np.float64)


def _newest(view: View) -> Floats:
    return np.nan_to_num(view.dated_s - view.tau_s, nan=-1e12) / HOUR_S


def _at_this_hour(view: View) -> Floats:
    """Count the last week's events at the hour of day of τ, and those of the two hours beside it."""
    span = view.window(168)
    events = view.history.tables.events
    apart = (events.at_s[span] // HOUR_S - view.tau_s // HOUR_S) % 24
    near = (apart <= 1) | (apart == 23)
    return np.bincount(events.post[span][near], minlength=view.n_posts).astype(np.float64)


POST_BASELINES: dict[str, Callable[[View], Floats]] = {
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
PAIR_BASELINES = {"item_knn": knn, "item_knn_recency": knn_trend}
_HINT = 1e-9
"""How much popularity counts beside similarity: only where similarity says nothing."""


def make_scorer(ranker: str, model: Model | None, view: View, buckets: Sequence[int]) -> Scorer:
    """Return the scorer of `ranker` at the moment of `view`; `model` is that of the ranker lightgbm."""
    if ranker == "lightgbm":
        if model is None:
            msg = "the ranker lightgbm scores with a model"
            raise ValueError(msg)
        return SeparableScorer(model, view, buckets)
    pairs = PAIR_BASELINES.get(ranker)
    by_post = _HINT * view.trend if pairs else POST_BASELINES[ranker](view)
    hour_scores = np.repeat(by_post[view.pool][:, None], len(buckets), axis=1)

    def pair_scores(users: Ints) -> Floats:
        if pairs is None:
            return np.zeros((len(users), len(view.pool)))
        return np.asarray(pairs(view, users), dtype=np.float64)

    return _Baseline(hour_scores, pair_scores, view.history.n_topics)
