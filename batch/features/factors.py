"""User vectors and post vectors: matrix factorisation of who touched what, by the library implicit.

`als` is alternating least squares on weighted touches (Hu, Koren and Volinsky, ICDM 2008), `bpr` is Bayesian
personalised ranking (Rendle et al., UAI 2009). Both are fitted on what came before the latest midnight (UTC), once a
day. What happened since is folded in: posts touched since midnight get the vectors that fit best to the users who
touched them, then users who touched anything since get those that fit best to their posts. That is one half step of ALS
each, so a new post and a new user have a vector as soon as they are touched or touch.

A fit of `als` with 163,000 users of 100 touches each, 16 million in all, costs 10 iterations × 2 sides × 4 products of
16 million touches with 32 numbers, 80 thousand million operations: half a minute of one core, shared by all cores, and
folding in every user another 5 s; `bpr` takes ten times as long, on one core. A run needs one fit for its ranker; where
the vectors are a feature, the training cases need one more for each of their days.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from batch.features.touches import latest_touches
from batch.features.view import View
from batch.kernels import dot_rows
from batch.tables import HOUR_S, Ints

Kind = Literal["als", "bpr"]
Vectors = NDArray[np.float32]

DIMS = 32
REFIT_S = 24 * HOUR_S
TOUCHES = 100
"""Touches of a user, the latest ones, that count."""
HALF_LIFE_H = 14 * 24.0
WEIGHT = 10.0
"""How much a touch of this moment counts against a post that was not touched; older ones count less."""
REGULARIZATION = 5.0
_FITS_KEPT = 4
_ALS_ITERATIONS = 10
_BPR_ITERATIONS = 50


@dataclass(frozen=True)
class Factors:
    """Vectors of all users and posts, zero where nothing is known. user : (n_users, dims). post : (n_posts, dims)."""

    user: Vectors
    post: Vectors


def vector_scores(view: View, users: Ints, kind: Kind) -> Vectors:
    """Return the products of the users' vectors and those of the pool's posts; float32, (len(users), n_pool)."""
    by_dim = view.once(f"{kind} by dimension", lambda: np.ascontiguousarray(post_vectors(view, kind)[view.pool].T))
    out = np.zeros((len(users), len(view.pool)), dtype=np.float32)
    dot_rows(user_vectors(view, users, kind), by_dim, out)
    return out


def post_vectors(view: View, kind: Kind) -> Vectors:
    """Return the vectors of all posts, with what happened until τ folded in; shape (n_posts, dims)."""
    return view.once(f"{kind} posts", lambda: _fold_in_posts(view, kind))


def user_vectors(view: View, users: Ints, kind: Kind) -> Vectors:
    """Return the vectors of `users`, with what happened until τ folded in; shape (len(users), dims)."""
    found = _fitted(view, kind).user[users]
    acted = np.isin(users, view.history.tables.events.user[_since_fit(view)])
    if acted.any():
        touched = view.once("touched by users", lambda: touch_matrix(view, view.tau_s))
        found[acted] = _half_step(touched[users[acted]], post_vectors(view, kind))
    return found


def touch_matrix(view: View, before_s: int) -> sparse.csr_matrix:
    """Return the weights of the users' latest touches before a moment; sparse float32, (n_users, n_posts)."""
    events, kept = view.history.tables.events, latest_touches(view, TOUCHES, before_s)
    weight = WEIGHT * 0.5 ** ((before_s - events.at_s[kept]) / HOUR_S / HALF_LIFE_H)
    cells = (weight.astype(np.float32), (events.user[kept], events.post[kept]))
    return sparse.csr_matrix(cells, shape=(view.n_users, view.n_posts))


def _fitted(view: View, kind: Kind) -> Factors:
    """Return the factors of the latest fit before τ.

    They depend on events alone, so all histories of the same tables share the latest few: what the gate has replayed
    is trained on next.
    """
    at_s = view.tau_s // REFIT_S * REFIT_S
    kept: dict[int, Factors] = view.history.orders.kept.setdefault(f"{kind} fitted", {})
    if at_s not in kept:
        while len(kept) >= _FITS_KEPT:
            del kept[min(kept)]
        kept[at_s] = _fit(touch_matrix(view, at_s), kind)
    return kept[at_s]


def _fit(touched: sparse.csr_matrix, kind: Kind) -> Factors:
    dims = DIMS if kind == "als" else DIMS + 1  # the last one of bpr is the posts' popularity
    if not touched.nnz:
        return Factors(*(np.zeros((size, dims), dtype=np.float32) for size in touched.shape))
    with threadpool_limits(1, "blas"):  # sums in one order, whatever the machine; ALS gives each row to one thread
        model = _als() if kind == "als" else _bpr()
        model.fit(touched, show_progress=False)
    return Factors(np.asarray(model.user_factors), np.asarray(model.item_factors))


def _since_fit(view: View) -> slice:
    at_s = view.tau_s // REFIT_S * REFIT_S
    return slice(int(np.searchsorted(view.history.tables.events.at_s, at_s, side="left")), view.n_events)


def _fold_in_posts(view: View, kind: Kind) -> Vectors:
    fitted = _fitted(view, kind)
    found, posts = fitted.post.copy(), np.unique(view.history.tables.events.post[_since_fit(view)])
    if len(posts):
        touched = view.once("touched by users", lambda: touch_matrix(view, view.tau_s))
        found[posts] = _half_step(sparse.csr_matrix(touched[:, posts].T), fitted.user)
    return found


def _half_step(touched: sparse.csr_matrix, other: Vectors) -> Vectors:
    """Return the vectors of the rows that fit best to the vectors of the columns, which stay; (n_rows, dims)."""
    with threadpool_limits(1, "blas"):
        model = _als(other.shape[1])
        model.item_factors = other
        return np.asarray(model.recalculate_user(np.arange(touched.shape[0]), touched))


def _als(dims: int = DIMS) -> Any:
    from implicit.cpu.als import AlternatingLeastSquares  # late: most runs do without

    return AlternatingLeastSquares(
        factors=dims,
        regularization=REGULARIZATION,
        iterations=_ALS_ITERATIONS,
        num_threads=numba.get_num_threads(),
        random_state=0,
    )


def _bpr() -> Any:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    return BayesianPersonalizedRanking(factors=DIMS, iterations=_BPR_ITERATIONS, num_threads=1, random_state=0)
