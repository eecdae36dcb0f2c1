"""Collaborative features of a user and a post, as of τ: float32, shape (len(users), n_pool)."""

import numpy as np
from numpy.typing import NDArray

from batch.features.factors import vector_scores
from batch.features.neighbours import fading_neighbour_scores, neighbour_scores
from batch.features.registry import feature
from batch.features.view import View
from batch.tables import Ints

Pairs = NDArray[np.float32]


@feature("user_knn", "user×post", "A", "share of the users most like the user who touched it lately")
def user_knn(view: View, users: Ints) -> Pairs:
    """Ask the user's neighbours, by likeness and recency."""
    return view.for_users("user_knn", users, lambda: neighbour_scores(view, users))


@feature("user_knn_fading", "user×post", "A", "the same, by rarer posts in common, and with touches that fade slowly")
def _user_knn_fading(view: View, users: Ints) -> Pairs:
    return fading_neighbour_scores(view, users)


@feature("als", "user×post", "A", "product of the user's and the post's vectors by ALS, of the latest midnight's fit")
def als(view: View, users: Ints) -> Pairs:
    """Multiply the vectors; what happened since midnight is folded in."""
    return view.for_users("als", users, lambda: vector_scores(view, users, "als"))


def bpr(view: View, users: Ints) -> Pairs:
    """Multiply the vectors of BPR: a baseline, not a feature, since it costs as much as ALS and says the same."""
    return view.for_users("bpr", users, lambda: vector_scores(view, users, "bpr"))
