"""Scores with the networks: A is a product of two vectors, C the network of the hour; there is no B."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.neural.inputs import hour_columns, hour_numbers, post_columns, post_side, user_columns, user_side
from batch.neural.network import Network, hour_score, times_by_row, vectors
from batch.tables import HOUR_S, Floats, Ints

_LATEST_EVENTS = 2_000
"""Events whose users stand for all, when posts are retrieved."""


class NeuralScorer:
    """Scores with a trained network at one moment. Bound to a view: its pool is the order of the posts."""

    def __init__(self, network: Network, view: View, buckets: Sequence[int]) -> None:
        self._network, self._view, self._buckets = network, view, buckets
        self.hour_scores = hour_scores(network, view, view.pool, buckets)

    def pair_scores(self, users: Ints) -> Floats:
        """Return A; float64, shape (len(users), n_pool)."""
        return match(self._network, self._view, users).astype(np.float64)

    def topic_scores(self, users: Ints) -> Floats:
        """Return B, which is zero; float64, shape (len(users), n_topics, n_buckets)."""
        return np.zeros((len(users), self._view.history.n_topics, len(self._buckets)))


def hour_scores(network: Network, view: View, posts: Ints, buckets: Sequence[int]) -> Floats:
    """Return C for `posts`; float64, shape (len(posts), n_buckets)."""
    scores = np.zeros((len(posts), len(buckets)))
    for at, bucket in enumerate(buckets):
        numbers = network.knots["hour"].encode(hour_numbers(view, hour_columns(network.columns), posts, bucket))
        scores[:, at] = hour_score(network.weights, numbers, times_by_row)[:, 0]
    return scores


def match(network: Network, view: View, users: Ints) -> NDArray[np.float32]:
    """Return the products of the vectors of `users` and of the pool's posts; float32, shape (len(users), n_pool)."""
    name = f"post vectors of network {id(network)}"
    by_dim = view.once(name, lambda: np.ascontiguousarray(post_vectors(network, view, view.pool).T))
    return times_by_row(user_vectors(network, view, users), by_dim)


def user_vectors(network: Network, view: View, users: Ints) -> NDArray[np.float32]:
    """Return the vectors of `users`; float32, shape (len(users), dims)."""
    return vectors(network, "user", user_side(view, user_columns(network.columns), users))


def post_vectors(network: Network, view: View, posts: Ints) -> NDArray[np.float32]:
    """Return the vectors of `posts`; float32, shape (len(posts), dims)."""
    return vectors(network, "post", post_side(view, post_columns(network.columns), posts))


def appeal(network: Network, view: View, posts: Ints) -> Floats:
    """Return how high `posts` stand now, on average over the users who were active last; float64, shape (len(posts),).

    A retriever: what stands high for nobody need not be scored for everybody.
    """
    latest = np.unique(view.history.tables.events.user[max(0, view.n_events - _LATEST_EVENTS) : view.n_events])
    scores = hour_scores(network, view, posts, [view.tau_s // HOUR_S])[:, 0]
    if not len(latest):
        return scores
    asked = user_vectors(network, view, latest.astype(np.int64)).mean(axis=0, keepdims=True)
    return np.asarray(scores + times_by_row(asked, post_vectors(network, view, posts).T)[0])
