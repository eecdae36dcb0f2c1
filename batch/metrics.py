"""Ranking metrics at a cutoff k, one value a case; and intervals for their means by a bootstrap over users.

All take `hits`, bool (n_cases, k): whether the post at each place of the list was one that the user went on to touch;
and `n_relevant`, int64 (n_cases,): how many such posts there were. A list shorter than k is padded with False.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batch.tables import Floats, Ints

Hits = NDArray[np.bool_]
_RESAMPLES = 1_000


def hits_of(top: NDArray[np.int32], relevant: Sequence[Ints]) -> Hits:
    """Return which places of each case's list, int32 (n_cases, k), -1 for none, hold one of its relevant posts."""
    counts = np.array([len(posts) for posts in relevant], dtype=np.int64)
    case = np.repeat(np.arange(len(relevant)), counts)
    wanted = case * 2**32 + np.concatenate([np.zeros(0, dtype=np.int64), *relevant])
    shown = np.arange(len(top))[:, None] * 2**32 + top
    return np.isin(shown, wanted) & (top >= 0)


def hit_rate_at_k(hits: Hits) -> Floats:
    """Return 1 for each case with a hit among its k posts, else 0."""
    return np.asarray(hits.any(axis=1), dtype=np.float64)


def recall_at_k(hits: Hits, n_relevant: Ints) -> Floats:
    """Return the share of the relevant posts that the list holds."""
    return np.asarray(hits.sum(axis=1) / n_relevant)


def ndcg_at_k(hits: Hits, n_relevant: Ints) -> Floats:
    """Return the discounted cumulative gain over that of the best list (Järvelin and Kekäläinen, TOIS 2002)."""
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    best = np.concatenate(([0.0], np.cumsum(discount)))[np.minimum(n_relevant, hits.shape[1])]
    return np.asarray((hits * discount).sum(axis=1) / best)


def map_at_k(hits: Hits, n_relevant: Ints) -> Floats:
    """Return the average precision at the places of the hits, over the hits that k places allow."""
    precision = np.cumsum(hits, axis=1) / (np.arange(hits.shape[1]) + 1)
    return np.asarray((precision * hits).sum(axis=1) / np.minimum(n_relevant, hits.shape[1]))


def interval_95(values: Floats, user: Ints, seed: int = 0) -> float:
    """Return half the width of the 95 % interval of the mean of `values`, users being drawn with replacement."""
    return float(intervals_95(values[None], user, seed)[0])


def intervals_95(values: Floats, user: Ints, seed: int = 0) -> Floats:
    """Return interval_95 of each row of `values`, (n_rows, n_cases), with the same draws for all: (n_rows,)."""
    code = np.unique(user, return_inverse=True)[1]
    n_users = int(code.max(initial=-1)) + 1
    if n_users < 2:  # one user tells nothing of the spread
        return np.full(len(values), np.nan)
    count = np.bincount(code, minlength=n_users).astype(np.float64)
    total = np.stack([np.bincount(code, weights=row, minlength=n_users) for row in values])
    random, means = np.random.default_rng(seed), []
    for begin in range(0, _RESAMPLES, _rows_at_once(n_users)):
        rows = min(_rows_at_once(n_users), _RESAMPLES - begin)
        drawn = random.multinomial(n_users, np.full(n_users, 1 / n_users), size=rows).astype(np.float64)
        means.append((drawn @ total.T) / np.maximum(drawn @ count, 1)[:, None])
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975], axis=0)
    return np.asarray((high - low) / 2)


def _rows_at_once(n_users: int) -> int:
    """Bound a draw to some ten megabytes."""
    return max(1, 2_000_000 // n_users)
