"""Random effects of a logistic model: what each cell of a table adds to the log-odds, shrunk by how much cells differ.

How much is not set but estimated, by the method of moments: an effect of variance v with curvature w makes the
gradient at zero spread by w² v + w.
"""

from dataclasses import dataclass

import numpy as np

from batch.tables import Floats, Ints

_NONE = 1e-6
"""Variance under which a table says nothing."""


@dataclass
class Responses:
    """What is to be explained. happened : float64 (n,), 0 or 1; log_odds : float64 (n,), as the effects say so far."""

    happened: Floats
    log_odds: Floats

    def surprise(self) -> tuple[Floats, Floats]:
        """Return gradient and curvature of the log-likelihood by response; both (n,)."""
        probability = 1 / (1 + np.exp(-self.log_odds))
        return self.happened - probability, probability * (1 - probability)


@dataclass
class Effects:
    """A table of effects. key : int64 (n,), the cell of each response; cell : float64 (size,); variance : of cells.

    usual_variance : what the variance is taken for where the log is too short to tell it; None: for 0.
    """

    key: Ints
    cell: Floats
    variance: float = 0.0
    usual_variance: float | None = None

    def update(self, responses: Responses) -> None:
        """Take one Newton step for every cell, at the other effects as they are."""
        gradient, curvature = (add_up(self.key, part, len(self.cell)) for part in responses.surprise())
        at_zero = gradient + curvature * self.cell
        self.variance = moment_variance(at_zero, curvature, self.usual_variance)
        cell = at_zero / (curvature + 1 / self.variance) if self.variance > 0 else np.zeros(len(self.cell))
        responses.log_odds += (cell - self.cell)[self.key]
        self.cell = cell


def add_up(key: Ints, values: Floats, size: int) -> Floats:
    """Return the sum of the values of each key; (size,)."""
    return np.bincount(key, values, size).astype(np.float64, copy=False)


def moment_variance(at_zero: Floats, curvature: Floats, usual: float | None = None) -> float:
    """Return the variance of effects, 0 where they spread no more than chance does.

    The estimate has a variance of about 2 / spread. With a `usual` variance it is weighted against that, whose standard
    deviation is taken for as large as itself.

    at_zero, curvature : gradient and curvature at zero effect; (n_cells,) both, or (n_cells, k) and (n_cells, k, k).
    """
    if curvature.ndim == 1:
        chance, spread = curvature.sum(), (curvature**2).sum()
    else:
        chance, spread = np.trace(curvature, axis1=1, axis2=2).sum(), (curvature**2).sum()
    above_chance = max(float((at_zero**2).sum() - chance), 0.0)
    if usual is not None:
        above_chance, spread = above_chance + 2 / usual, spread + 2 / usual**2
    variance = float(above_chance / max(spread, 1e-12))
    return variance if variance > _NONE else 0.0
