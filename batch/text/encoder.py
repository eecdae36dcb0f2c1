"""What every text encoder is to the rest: a function from texts to unit vectors, that is saved with the model."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

DIMS = 64
"""Dimensions of a text vector, whatever encoder made it."""
FEWEST_TEXTS = 10
"""With fewer texts nothing is fitted."""


class TextEncoder(Protocol):
    """A fitted encoder."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, float32 (len(texts), dims); zeros for a text that says nothing to the encoder.

        A text's vector does not depend on the texts beside it.
        """

    def about(self) -> dict[str, Any]:
        """Return what is saved of it as JSON; `kind` says which class reads it."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is saved of it as arrays."""


def unit_rows(vectors: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale each row to length 1; a row of zeros stays."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
    return np.asarray(unit, dtype=np.float32)
