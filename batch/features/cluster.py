"""Features of text clusters, which stand in for topics where posts have none; NaN for posts without text."""

import numpy as np
from numpy.typing import NDArray

from batch.features.registry import feature
from batch.features.view import View
from batch.tables import Floats, Ints

_PRIOR = 10.0


@feature("cluster", "post", "AC", "its text's cluster, the largest cluster being 0", needs_clusters=True)
def _cluster(view: View) -> Floats:
    return np.where(np.isnan(_distance(view)), np.nan, view.history.cluster)


@feature("cluster_distance", "post", "A", "distance of its text to the nearest cluster's centre", needs_clusters=True)
def _distance(view: View) -> Floats:
    return np.asarray(view.history.cluster_distances.min(axis=1), dtype=np.float64)


@feature(
    "cluster_margin",
    "post",
    "A",
    "how much further away the second nearest centre is than the nearest",
    needs_clusters=True,
)
def _margin(view: View) -> Floats:
    nearest = np.sort(view.history.cluster_distances, axis=1)[:, :2].astype(np.float64)
    return nearest[:, -1] - nearest[:, 0]


@feature(
    "cluster_trend",
    "post",
    "AC",
    "its cluster's share of the last day's touches, over that of all touches, shrunk",
    needs_clusters=True,
)
def _cluster_trend(view: View) -> Floats:
    share = _share(view)
    counts = np.bincount(view.history.cluster, weights=view.touches(24), minlength=len(share))
    lift = (counts + _PRIOR * share) / (counts.sum() + _PRIOR) / share
    return np.where(np.isnan(_distance(view)), np.nan, lift[view.history.cluster])


@feature(
    "cluster_lift",
    "user×post",
    "A",
    "how many times the average the user touches the post's cluster, shrunk",
    needs_clusters=True,
)
def _cluster_lift(view: View, users: Ints) -> NDArray[np.float32]:
    """Return 1 for users without events, and for posts without text."""
    share = view.once("cluster share", lambda: _share(view))
    lift = view.once("cluster lift", lambda: _lift(view, share))
    return np.asarray(lift[users][:, view.history.cluster[view.pool]])


def _lift(view: View, share: Floats) -> NDArray[np.float32]:
    """Return the lift of every user and cluster, and 1 for "no text"; (n_users, n_clusters + 1)."""
    history, past = view.history, slice(0, view.n_events)
    events, kept = history.tables.events, history.first[past]
    cell = events.user[past][kept].astype(np.int64) * len(share) + history.cluster[events.post[past][kept]]
    counts = np.bincount(cell, minlength=view.n_users * len(share)).reshape(view.n_users, len(share))
    lift = (counts + _PRIOR * share) / (counts.sum(axis=1, keepdims=True) + _PRIOR) / share
    lift[:, -1] = 1.0
    return np.asarray(lift, dtype=np.float32)


def _share(view: View) -> Floats:
    """Return each cluster's share of all first touches, smoothed, the last for "no text"; (n_clusters + 1,)."""
    n_clusters = view.history.cluster_distances.shape[1]
    counts = np.bincount(view.history.cluster, weights=view.touches_all, minlength=n_clusters + 1) + 1.0
    return np.asarray(counts / counts.sum())
