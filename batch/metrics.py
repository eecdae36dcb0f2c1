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
    """Return which places of each case's list, int32 (n_cases, k), hold one of its relevant posts."""
    found = [np.isin(posts, wanted) for posts, wanted in zip(top, relevant, strict=True)]
    return np.array(found, dtype=bool).reshape(top.shape)


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
    _, code = np.unique(user, return_inverse=True)
    total, count = np.bincount(code, weights=values), np.bincount(code).astype(np.float64)
    if len(total) < 2:  # one user tells nothing of the spread
        return float("nan")
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(total), np.full(len(total), 1 / len(total)), size=_RESAMPLES).astype(np.float64)
    means = (drawn @ total) / np.maximum(drawn @ count, 1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(high - low) / 2
