"""What a generation is like by bucket, for whoever watches it: how much is shown, and how fast feeds turn over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EVERY = 20
"""Users between two whose slates are compared, which takes longer than to note what they hold."""


@dataclass(frozen=True)
class BucketSums:
    """Of some users' slates. shown : bool (n_buckets, n_posts), posts that are in any slate of the bucket.

    stayed, places : int64 (n_buckets,), of compared slates' places those whose post was in the same user's slate of the
    bucket before, and all of them; of the first bucket none.
    """

    shown: NDArray[np.bool_]
    stayed: NDArray[np.int64]
    places: NDArray[np.int64]


def sum_by_bucket(posts: NDArray[np.int32], first_user: int, n_posts: int) -> BucketSums:
    """Look at a chunk's slates; posts : (n_users, n_buckets, top_n), -1 where a slate has ended."""
    n_buckets = posts.shape[1]
    shown = np.zeros((n_buckets, n_posts + 1), dtype=bool)
    for bucket in range(n_buckets):
        shown[bucket, posts[:, bucket]] = True  # -1 is the last column, which is dropped
    stayed, places = np.zeros(n_buckets, dtype=np.int64), np.zeros(n_buckets, dtype=np.int64)
    compared = posts[-first_user % _EVERY :: _EVERY]
    for bucket in range(1, n_buckets):
        now, before = compared[:, bucket], compared[:, bucket - 1]
        is_post = now >= 0
        stayed[bucket] = np.count_nonzero((now[:, :, None] == before[:, None, :]).any(axis=2) & is_post)
        places[bucket] = np.count_nonzero(is_post)
    return BucketSums(shown[:, :-1], stayed, places)


def told_by_bucket(parts: Sequence[BucketSums], n_pool: int) -> dict[str, list[float]]:
    """Return shares with four decimals, one for each bucket.

    coverage : posts that are in anybody's slate, of those that could be. overlap : posts of a slate that were in the
    same user's slate of the bucket before; 0 for the first bucket.
    """
    shown = np.logical_or.reduce([part.shown for part in parts]).sum(axis=1)
    stayed, places = sum(part.stayed for part in parts), sum(part.places for part in parts)
    return {
        "coverage": (shown / max(1, n_pool)).round(4).tolist(),
        "overlap": (np.asarray(stayed) / np.maximum(1, places)).round(4).tolist(),
    }
