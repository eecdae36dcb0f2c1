"""Principal components of wide vectors: fewer dimensions, the same for any number of threads and of rows beside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from batch.errors import BatchError
from batch.kernels import dot_rows
from batch.text.encoder import unit_rows

_ROWS = 8_192
"""Rows at once, so that a large catalogue is never held in double precision."""


@dataclass(frozen=True)
class Reduction:
    """A fitted reduction. mean : float32 (width,); components : float32 (dims, width), orthonormal rows."""

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    @staticmethod
    def of(mean: NDArray[Any], components: NDArray[Any]) -> "Reduction":
        """Return the reduction of saved numbers; raise ValueError where they do not fit each other."""
        is_float32 = mean.dtype == components.dtype == np.float32
        if not is_float32 or mean.ndim != 1 or components.ndim != 2 or components.shape[1] != len(mean):
            msg = f"components of shape {components.shape} do not go with a mean of shape {mean.shape}"
            raise ValueError(msg)
        return Reduction(mean, components)

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return unit vectors of the centred and reduced rows, float32 (n, dims)."""
        if vectors.shape[1] != len(self.mean):  # the loop below would read beyond an array
            msg = f"the text encoder gives vectors of width {vectors.shape[1]}, not {len(self.mean)}; train a new model"
            raise BatchError(msg)
        reduced = np.zeros((len(vectors), len(self.components)), dtype=np.float32)
        dot_rows(vectors - self.mean, np.ascontiguousarray(self.components.T), reduced)
        return unit_rows(reduced)


def fit_reduction(vectors: NDArray[np.float32], dims: int) -> Reduction:
    """Fit principal components; float32 (n, width) with at least two rows; at most `dims` of them.

    Centring matters: the vectors of a language model share a large common part, beside which all cosines are near 1
    (Mu and Viswanath, "All-but-the-top", ICLR 2018).
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    width = vectors.shape[1]
    spread = np.zeros((width, width))
    with threadpool_limits(1, "blas"):
        for begin in range(0, len(vectors), _ROWS):
            centred = vectors[begin : begin + _ROWS] - mean
            spread += centred.T @ centred
        _, axes = np.linalg.eigh(spread)  # ascending
    components = axes.T[::-1][: min(dims, width, len(vectors) - 1)]
    # The sign of an axis is arbitrary: its largest entry is made positive.
    largest = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
    return Reduction(mean.astype(np.float32), (components * np.sign(largest)[:, None]).astype(np.float32))
