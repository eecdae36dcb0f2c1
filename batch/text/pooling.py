"""From the vectors of tokens to the vector of a text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.text.embedder import Pooling


def pool(hidden: NDArray[np.float32], mask: NDArray[Any], pooling: Pooling) -> NDArray[np.float32]:
    """Return one vector a text, float32 (n, width), from those of its tokens (n, tokens, width).

    mask : (n, tokens), 1 for tokens of the text, 0 for padding, which must not count. "mean" takes the mean over the
    text's tokens, "cls" the vector of the first token.
    """
    if pooling == "cls":
        return np.asarray(hidden[:, 0], dtype=np.float32)
    weight = mask.astype(np.float32)[:, :, None]
    return np.asarray((hidden * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1.0), dtype=np.float32)
