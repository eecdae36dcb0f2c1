"""The compiled loops over all events: numbering ids, noting what occurs first, renumbering."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batch.tables import Floats, Ints

FREE = -1


@njit(cache=True, nogil=True)
def _slot(value: int, slots: NDArray[np.int32], ids: Ints) -> np.int64:
    """Return the slot of an integer id, or the free one where it belongs: open addressing, linear probing."""
    mask = len(slots) - 1
    mixed = np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    at = np.int64(mixed >> np.uint64(32)) & mask
    while slots[at] != FREE and ids[slots[at]] != value:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def number_ids(
    values: Ints, begin: int, slots: NDArray[np.int32], ids: Ints, count: int, out: NDArray[np.int32]
) -> tuple[int, int]:
    """Write the index of each of values[begin:] to `out`; a new id gets the next one, `count`.

    slots : hash table of indices, of a power of two. Returns the place of the first value that was not done, because
    the table is half full, and the number of ids.
    """
    for place in range(begin, len(values)):
        at = _slot(values[place], slots, ids)
        if slots[at] == FREE:
            if 2 * count >= len(slots):
                return place, count
            slots[at] = count
            ids[count] = values[place]
            count += 1
        out[place] = slots[at]
    return len(values), count


@njit(cache=True, nogil=True)
def fill_slots(ids: Ints, slots: NDArray[np.int32]) -> None:
    """Enter ids into a table of free slots."""
    for index in range(len(ids)):
        slots[_slot(ids[index], slots, ids)] = index


@njit(cache=True, nogil=True)
def note_earliest(group: Ints, kind: Ints, at_s: Ints, out: NDArray[np.int64]) -> None:
    """Lower out[group, kind] to the earliest second of each."""
    for place in range(len(at_s)):
        if at_s[place] < out[group[place], kind[place]]:
            out[group[place], kind[place]] = at_s[place]


@njit(cache=True, nogil=True)
def mark(index: NDArray[np.int32], out: NDArray[np.bool_]) -> None:
    """Set `out` where an index occurs."""
    for place in range(len(index)):
        out[index[place]] = True


@njit(cache=True, nogil=True)
def renumber(index: NDArray[np.int32], new: NDArray[np.int32]) -> None:
    """Replace each index by its new one, in place."""
    for place in range(len(index)):
        index[place] = new[index[place]]


@njit(cache=True, nogil=True)
def first_seconds(index: NDArray[np.int32], at_s: Ints, out: Floats) -> None:
    """Write the second of the first event of each index; at_s ascending, `out` infinite before."""
    for place in range(len(index)):
        if out[index[place]] == np.inf:
            out[index[place]] = at_s[place]
