"""95 % intervals of a mean over cases whose users come several times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 4_000


@dataclass(frozen=True)
class Estimate:
    """A mean over cases, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap_by_user(users: Sequence[str], values: Sequence[float], draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return the mean of `values`, one a case, and its percentile interval when whole users are drawn again.

    Cases of one user are not independent, so the users are what is resampled (the cluster bootstrap). For a paired
    comparison of two rankers, `values` are differences on the same case.
    """
    known, index = np.unique(np.asarray(users), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(index).astype(np.float64)
    times_drawn = np.random.default_rng(seed).multinomial(len(known), np.full(len(known), 1 / len(known)), size=draws)
    means = (times_drawn @ sums) / (times_drawn @ counts)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))
