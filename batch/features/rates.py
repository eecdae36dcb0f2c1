"""Rates of response to what was shown, shrunk where little was."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.tables import Floats

_PRIOR = 20.0


def shrunk_rate(response: NDArray[Any], shown: NDArray[Any]) -> Floats:
    """Return response over what was shown, shrunk towards the rate of all together; shape of both."""
    average = response.sum() / max(shown.sum(), 1)
    return np.asarray((response + _PRIOR * average) / (shown + _PRIOR))
