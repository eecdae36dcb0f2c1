"""Similar posts: which posts of the pool are most like each other, by who touched them and by their texts.

The two likenesses have no common scale, so their ranks are fused: a post counts 1 / (60 + rank) in each list
(reciprocal rank fusion, Cormack et al., SIGIR 2009). A post that nobody has touched yet has its text alone.
"""

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.tables import Ints

_FUSION = 60
_DEEP = 5
"""Posts of each list that enter, for every one that is wanted."""
_POSTS_AT_ONCE = 512


def similar_posts(view: View, most: int) -> list[Ints]:
    """Return for each post of the pool the indices of up to `most` others, the most similar first."""
    text, deep = view.history.text, most * _DEEP
    of_pool = None if text is None else np.ascontiguousarray(text[view.pool])
    found: list[Ints] = []
    for first in range(0, len(view.pool), _POSTS_AT_ONCE):
        places = np.arange(first, min(first + _POSTS_AT_ONCE, len(view.pool)))
        lists = [_best(_touched_alike(view, view.pool[places]), places, deep)]
        if of_pool is not None:
            lists.append(_best(of_pool[places] @ of_pool.T, places, deep))
        found += [view.pool[_fused([ranked[row] for ranked in lists])[:most]] for row in range(len(places))]
    return found


def _touched_alike(view: View, posts: Ints) -> NDArray[np.float32]:
    """Return the rows of `view.similarity_to_pool`; out of the table that scoring needs too, where there is one."""
    table = view.similarity_table()
    if table is not None:
        return table[posts]
    return np.asarray(view.similarity_to_pool[posts].toarray(), dtype=np.float32)


def _best(likeness: NDArray[np.float32], own: Ints, most: int) -> list[Ints]:
    """Return for each row the places of up to `most` largest values above 0, in order; its own place is left out.

    Of equal values the first come first.
    """
    likeness[np.arange(len(own)), own] = 0
    most = min(most, likeness.shape[1])
    least = np.partition(likeness, likeness.shape[1] - most, axis=1)[:, likeness.shape[1] - most]
    ranked = []
    for row, bound in zip(likeness, least, strict=True):
        places = np.flatnonzero((row >= bound) & (row > 0))
        ranked.append(places[np.argsort(-row[places], kind="stable")][:most])
    return ranked


def _fused(lists: list[Ints]) -> Ints:
    """Return the places of all lists, best first; of equals the first places."""
    places = np.concatenate(lists)
    worth = np.concatenate([1.0 / (_FUSION + 1 + np.arange(len(ranked))) for ranked in lists])
    known, place = np.unique(places, return_inverse=True)
    total = np.bincount(place, weights=worth, minlength=len(known))
    return np.asarray(known[np.argsort(-total, kind="stable")], dtype=np.int64)
