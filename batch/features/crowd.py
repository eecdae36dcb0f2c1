"""Who touched a post, as a vector of fixed length that needs no fitting and knows posts from their first touch on.

Every user has a vector of random signs (batch/features/signs.py). A post is the sum of those of its latest
touchers, a user the sum of those of the user's latest posts. Two such vectors point the same way where the same people
stand behind both, so their product estimates what a search for neighbours would count (random indexing: Sahlgren,
2005).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from batch.features.view import View
from batch.tables import Ints

_TOUCHERS = 16
"""Touchers of a post that count, the latest ones: it bounds the work, and follows who comes now."""

Vectors = NDArray[np.float32]


def crowd_of_posts(view: View) -> Vectors:
    """Return each post's vector as of τ, about of norm 1, zeros where nobody touched it; (n_posts, dims)."""
    crowd: Vectors = view.once("crowd of posts", lambda: _crowd_of_posts(view))
    return crowd


def _crowd_of_posts(view: View) -> Vectors:
    history = view.history
    order, start = history.firsts_by_post
    position = start[:-1] + view.touches_all.astype(np.int64) - 1 - np.arange(_TOUCHERS)[:, None]
    known = position >= start[:-1]
    user = history.tables.events.user[order[position[known]]]
    post = np.broadcast_to(np.arange(view.n_posts), known.shape)[known]
    weight = (1.0 / np.sqrt(known.sum(axis=0))[post]).astype(np.float32)
    cells = (weight, (post, user))
    touched = sparse.csr_array(sparse.coo_array(cells, shape=(view.n_posts, view.n_users)))
    return np.asarray(touched @ history.signs, dtype=np.float32)


def crowd_of_users(view: View, users: Ints) -> Vectors:
    """Return each user's vector as of τ, of norm 1, zeros without any event; (len(users), dims)."""
    return unit(np.asarray(view.taste(users).astype(np.float32) @ crowd_of_posts(view), dtype=np.float32))


def unit(rows: Vectors) -> Vectors:
    """Return the rows at length 1; zeros stay."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0))
