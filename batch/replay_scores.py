"""The scores of what a slate holds: the parts are kept as they are computed, and summed for the places of the slate."""

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.rank import Scorer
from batch.tables import Floats, Ints


class Remembering:
    """A scorer that keeps the parts of the users that it was asked for last."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._pair = self._topic = np.zeros(0)

    @property
    def hour_scores(self) -> Floats:
        """Return C; float64, shape (n_pool, n_buckets)."""
        return self._scorer.hour_scores

    def pair_scores(self, users: Ints) -> Floats:
        """Return A; float64, shape (len(users), n_pool)."""
        self._pair = self._scorer.pair_scores(users)
        return self._pair

    def topic_scores(self, users: Ints) -> Floats:
        """Return B; float64, shape (len(users), n_topics, n_buckets)."""
        self._topic = self._scorer.topic_scores(users)
        return self._topic

    def scores_of(self, slates: NDArray[np.int32], view: View) -> Floats:
        """Return the scores of the posts in the slates of the users asked for last, NaN where there is no post.

        slates : as pick_slates returns them, (n_users, n_buckets, top_n); so is the result, float64.
        """
        posts = np.maximum(slates, 0).astype(np.int64)
        place, topic = view.place[posts], view.history.topic[posts]
        user = np.arange(slates.shape[0])[:, None, None]
        bucket = np.arange(slates.shape[1])[None, :, None]
        total = self._pair[user, place] + self._topic[user, topic, bucket] + self.hour_scores[place, bucket]
        return np.where(slates >= 0, total, np.nan)
