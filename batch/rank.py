"""Rankers: each scores users × posts × buckets as A(user, post) + B(user, topic, bucket) + C(post, bucket)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from batch.baselines import PAIR_BASELINES, POST_BASELINES
from batch.features.view import View
from batch.model import Model
from batch.neural.scorer import NeuralScorer
from batch.scorer import SeparableScorer
from batch.tables import Floats, Ints


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
    by_pair: Callable[[View, Ints], Floats] | None
    view: View

    def pair_scores(self, users: Ints) -> Floats:
        if self.by_pair is None:
            return np.zeros((len(users), len(self.view.pool)))
        return np.asarray(self.by_pair(self.view, users), dtype=np.float64)

    def topic_scores(self, users: Ints) -> Floats:
        return np.zeros((len(users), self.view.history.n_topics, self.hour_scores.shape[1]))


def compute_once(scorer: Scorer) -> None:
    """Have the view of `scorer` compute now what all users share: side by side, on all cores."""
    if isinstance(scorer, SeparableScorer):
        scorer.compute_once()
    else:
        scorer.pair_scores(np.zeros(1, dtype=np.int64))


def make_scorer(ranker: str, model: Model | None, view: View, buckets: Sequence[int]) -> Scorer:
    """Return the scorer of `ranker` at the moment of `view`; `model` is that of a ranker that is trained."""
    view.network = model.network if model else None
    if ranker == "lightgbm":
        if model is None:
            msg = "the ranker lightgbm scores with a model"
            raise ValueError(msg)
        return SeparableScorer(model, view, buckets)
    if ranker == "neural":
        if model is None or model.network is None:
            msg = "the ranker neural scores with a model that has a network"
            raise ValueError(msg)
        return NeuralScorer(model.network, view, buckets)
    if ranker in POST_BASELINES:
        by_post, by_pair = POST_BASELINES[ranker](view), None
    else:
        by_pair, beside = PAIR_BASELINES[ranker]
        by_post = beside(view)
    hour_scores = np.repeat(by_post[view.pool][:, None], len(buckets), axis=1)
    return _Baseline(hour_scores, by_pair, view)
