"""Clusters of texts, by k-means on their unit vectors: topics for posts that have none (Lloyd, 1982)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from batch.kernels import dot_rows
from batch.tables import Ints

_STARTS = 4
_MOST_TEXTS = 50_000
"""Texts that the centres are fitted on, drawn at random where there are more."""


@dataclass(frozen=True)
class Clusters:
    """Fitted clusters, the largest first. centres : float32 (n_clusters, dims)."""

    centres: NDArray[np.float32]

    @staticmethod
    def of(centres: NDArray[Any], dims: int) -> "Clusters":
        """Return the clusters of saved centres; raise ValueError where they are none in that many dimensions."""
        if centres.dtype != np.float32 or centres.ndim != 2 or not len(centres) or centres.shape[1] != dims:
            msg = f"centres of clusters are float32 of {dims} dimensions, not {centres.dtype} of shape {centres.shape}"
            raise ValueError(msg)
        return Clusters(centres)

    def distances(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return Euclidean distances to all centres, float32 (n, n_clusters); NaN for rows of zeros, without text."""
        product = np.zeros((len(vectors), len(self.centres)), dtype=np.float32)
        dot_rows(vectors, np.ascontiguousarray(self.centres.T), product)
        length = (vectors**2).sum(axis=1, keepdims=True)
        found = np.sqrt(np.maximum(length + (self.centres**2).sum(axis=1) - 2 * product, 0))
        return np.where(length > 0, found, np.float32(np.nan))


def nearest(distances: NDArray[np.float32]) -> Ints:
    """Return the cluster of each row of distances, the last number plus one for a row without text; int64 (n,)."""
    missing = np.isnan(distances[:, 0])
    found = np.where(missing, distances.shape[1], np.argmin(np.nan_to_num(distances), axis=1))
    return np.asarray(found, dtype=np.int64)


def fit_clusters(vectors: NDArray[np.float32], n_clusters: int, seed: int) -> Clusters | None:
    """Fit on the rows that are not zero; return None where they are fewer than clusters, or all alike."""
    there = vectors[(vectors != 0).any(axis=1)]
    if len(there) > _MOST_TEXTS:
        there = there[np.sort(np.random.default_rng(seed).choice(len(there), _MOST_TEXTS, replace=False))]
    if n_clusters < 1 or len(np.unique(there, axis=0)) < n_clusters:
        return None
    with threadpool_limits(1):  # sums of another number of threads round otherwise
        found = KMeans(n_clusters, n_init=_STARTS, random_state=seed).fit(there)
    size = np.bincount(found.labels_, minlength=n_clusters)
    return Clusters(found.cluster_centers_[np.argsort(-size, kind="stable")].astype(np.float32))
