"""Judging rankers on a log of what was shown: by the order in which they put what each user was shown in an hour.

A response can only follow on what was shown. Slates drawn from all posts would be judged by how well they repeat the
feed that made the log: popular is what that feed showed most, whether anybody liked it or not.
"""

import numpy as np
from numpy.typing import NDArray

from batch.features.view import History, View
from batch.replay_scores import Remembering
from batch.tables import HOUR_S, Ints


def offered_posts(history: History, view: View, users: Ints, buckets: range) -> NDArray[np.int32]:
    """Return what each user was shown for the first time in each bucket, after τ and among the pool.

    Returns indices of posts, int32 (len(users), len(buckets), most), in the order of the pool, -1 for none.
    """
    log = history.tables.events
    span = np.arange(view.n_events, np.searchsorted(log.at_s, buckets.stop * HOUR_S, side="left"))
    span = span[history.first[span] & np.isin(log.user[span], users) & (view.place[log.post[span]] >= 0)]
    cell = np.searchsorted(users, log.user[span]) * len(buckets) + log.at_s[span] // HOUR_S - buckets.start
    order = np.lexsort((view.place[log.post[span]], cell))
    cell, post = cell[order], log.post[span][order]
    count = np.bincount(cell, minlength=len(users) * len(buckets))
    rank = np.arange(len(cell)) - (np.cumsum(count) - count)[cell]
    offered = np.full((len(count), max(1, int(count.max(initial=0)))), -1, dtype=np.int32)
    offered[cell, rank] = post
    return offered.reshape(len(users), len(buckets), -1)


def best_offered(scorer: Remembering, view: View, users: Ints, offered: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    """Return the `k` best of what `users` were offered, best first, -1 for none; int32 (n_users, n_buckets, k)."""
    scorer.pair_scores(users)
    scorer.topic_scores(users)
    scores = np.nan_to_num(scorer.scores_of(offered, view), nan=-np.inf)
    best = np.argsort(-scores, axis=2, kind="stable")[:, :, :k]
    found = np.take_along_axis(offered, best, axis=2)
    return np.pad(found, ((0, 0), (0, 0), (0, k - found.shape[2])), constant_values=-1)
