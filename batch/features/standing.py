"""How a post stands with a user beside all others of the pool; user×post, float32, shape (len(users), n_pool).

Who has touched much is like many, so that any post scores high; the same score means more to who has touched little.
Trees that ask for a score alone cannot tell the two apart. So the same scores come once more, measured by the user's
own: as a share of the highest one, or in standard deviations from their mean.
"""

from collections.abc import Callable

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.neighbours import fading_neighbour_scores
from batch.features.pair import knn
from batch.features.registry import Feature, register
from batch.features.vectors import als, user_knn
from batch.features.view import View
from batch.tables import Ints

Pairs = NDArray[np.float32]


def shares_of_highest(scores: Pairs) -> Pairs:
    """Divide each row by its highest value; rows without a value above 0 become 0."""
    out = np.zeros_like(scores)
    _share(scores, out)
    return out


def deviations(scores: Pairs) -> Pairs:
    """Return how many standard deviations each value is above the mean of its row; rows of equal values become 0."""
    out = np.zeros_like(scores)
    _deviate(scores, out)
    return out


def places(scores: Pairs) -> Pairs:
    """Return how many values of its row, none of which is below 0, are before each value; of equals the first one is.

    The pool is in the order of what trends, so that order goes on where the scores say nothing.
    """
    out = np.empty_like(scores)
    _place(scores, out)
    return out


def _declare(name: str, what: str, scores: Callable[[View, Ints], Pairs], measured: Callable[[Pairs], Pairs]) -> None:
    register(
        Feature(name, "user×post", "A", what, lambda view, users: measured(scores(view, users)), needs_choices=True)
    )


_declare("knn_standing", "knn, as a share of the highest that the user has with any post", knn, shares_of_highest)
_declare(
    "user_knn_standing",
    "user_knn, as a share of the highest that the user has with any post",
    user_knn,
    shares_of_highest,
)
_declare(
    "user_knn_fading_standing",
    "user_knn_fading, as a share of the user's highest",
    fading_neighbour_scores,
    shares_of_highest,
)
_declare("als_standing", "als, in standard deviations from the user's mean over all posts", als, deviations)
_declare(
    "user_knn_place", "how many posts have a higher user_knn with the user, or trend more if equal", user_knn, places
)
_declare("user_knn_fading_place", "the same by user_knn_fading", fading_neighbour_scores, places)


@njit(parallel=True, cache=True, nogil=True)
def _share(scores: Pairs, out: Pairs) -> None:
    for row in prange(len(scores)):
        highest = np.float32(0.0)
        for at in range(scores.shape[1]):
            highest = max(highest, scores[row, at])
        if highest > 0:
            for at in range(scores.shape[1]):
                out[row, at] = scores[row, at] / highest


@njit(parallel=True, cache=True, nogil=True)
def _deviate(scores: Pairs, out: Pairs) -> None:
    n_posts = scores.shape[1]
    for row in prange(len(scores)):
        total = squares = 0.0
        for at in range(n_posts):
            total += scores[row, at]
        mean = total / max(n_posts, 1)
        for at in range(n_posts):
            squares += (scores[row, at] - mean) ** 2
        spread = np.sqrt(squares / max(n_posts, 1))
        if spread > 0:
            for at in range(n_posts):
                out[row, at] = (scores[row, at] - mean) / spread


@njit(parallel=True, cache=True, nogil=True)
def _place(scores: Pairs, out: Pairs) -> None:
    """Sort what is above 0, which is little, and count through the rest."""
    for row in prange(len(scores)):
        above = np.flatnonzero(scores[row])
        order = np.argsort(-scores[row][above], kind="mergesort")
        for place in range(len(above)):
            out[row, above[order[place]]] = place
        place = len(above)
        for at in range(scores.shape[1]):
            if scores[row, at] == 0:
                out[row, at] = place
                place += 1
