"""Numbers as a network likes them: piecewise linear in quantile bins (Gorishniy et al., NeurIPS 2022)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
_BINS = 8
_MOST_ROWS = 50_000


@dataclass(frozen=True)
class Knots:
    """Quantiles of each column. at : float32, shape (n_columns, bins + 1), ascending along a row."""

    at: Matrix

    @property
    def width(self) -> int:
        """Return how many inputs the columns make: one a bin, and one that says "missing"."""
        return int(self.at.shape[0] * self.at.shape[1])

    def encode(self, numbers: Matrix) -> Matrix:
        """Return for each number how far it has gone through each bin, 0 to 1; float32, shape (n_rows, width).

        A missing number has gone nowhere, and is told as missing. A bin without width is a step.
        """
        begin, end = self.at[:, :-1], self.at[:, 1:]
        width = end - begin
        missing = np.isnan(numbers)
        beyond = np.where(missing, -np.inf, numbers)[:, :, None] - begin
        scaled = np.clip(beyond / np.where(width > 0, width, 1), 0, 1)
        gone = np.where(width > 0, scaled, beyond > 0)
        return np.concatenate([gone.reshape(len(numbers), -1), missing], axis=1).astype(np.float32)


def find_knots(numbers: Matrix) -> Knots:
    """Take the quantiles of each column's known numbers, from evenly spaced rows where there are many."""
    rows = numbers[:: len(numbers) // _MOST_ROWS + 1].astype(np.float64)
    steps = np.linspace(0, 1, _BINS + 1)
    at = [np.quantile(known, steps) if len(known := c[np.isfinite(c)]) else np.zeros(_BINS + 1) for c in rows.T]
    return Knots(np.array(at, dtype=np.float32).reshape(len(at), _BINS + 1))
