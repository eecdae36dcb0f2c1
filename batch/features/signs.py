"""Vectors of random signs that stand for users: made from the id alone, so that they never change."""

import zlib

import numpy as np
from numpy.typing import NDArray

from batch.tables import Ids

DIMS = 64
_GOLDEN, _MIX = np.uint64(0x9E3779B97F4A7C15), ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def signs_of(ids: Ids) -> NDArray[np.float32]:
    """Return a vector of norm 1 for each id, always the same one; float32, shape (len(ids), DIMS)."""
    seed = np.array([zlib.crc32(str(one).encode()) for one in ids], dtype=np.uint64)
    mixed = seed * _GOLDEN
    for shift, factor in _MIX:  # the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    bits = (mixed[:, None] >> np.arange(DIMS, dtype=np.uint64)) & np.uint64(1)
    return (bits.astype(np.float32) * 2 - 1) / np.float32(np.sqrt(DIMS))
