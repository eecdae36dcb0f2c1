"""Rates of response to what was shown, shrunk where little was."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.tables import Floats

_PRIOR_WHOLE = 20.0
_PRIOR_CELL = 10.0


def shrunk_rate(response: NDArray[Any], shown: NDArray[Any]) -> Floats:
    """Return response over what was shown, shrunk towards the rate of all together; shape of both."""
    average = response.sum() / max(shown.sum(), 1)
    return np.asarray((response + _PRIOR_WHOLE * average) / (shown + _PRIOR_WHOLE))


def lift_of_rate(response: NDArray[Any], shown: NDArray[Any], axis: int) -> Floats:
    """Return how many times the rate of its whole each cell's rate is; the whole is the sum over `axis`.

    Both are shrunk: the whole's rate towards that of everything, the cell's towards the whole's. Without any event
    all cells are 1.
    """
    whole = shrunk_rate(response.sum(axis=axis, keepdims=True), shown.sum(axis=axis, keepdims=True))
    cell = (response + _PRIOR_CELL * whole) / (shown + _PRIOR_CELL)
    return np.asarray(np.divide(cell, whole, out=np.ones_like(cell), where=whole > 0), dtype=np.float64)
