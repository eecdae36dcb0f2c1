"""Decodes rows of Postgres' binary COPY format: a count of fields, then each field's length and bytes, big-endian.

The format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batch.tables import Ints

HEADER = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(HEADER) + 8
"""The signature, then flags and the length of an extension, which are 0."""
FIELDS = 5
EPOCH_S = 946_684_800
"""Seconds from 1970 to 2000, where Postgres counts from."""
TARGET_0, TARGET_1, TARGET_OTHER, TARGET_NULL = range(4)
_ENDLESS_TIMES = (1 << 63) - 1, -(1 << 63)
_ENDLESS_DATES = (1 << 31) - 1, -(1 << 31)


@njit(cache=True, nogil=True)
def _integer(buffer: NDArray[np.uint8], at: int, size: int) -> np.int64:
    value = np.int64(buffer[at])
    if value >= 128:
        value -= np.int64(256)
    for place in range(at + 1, at + size):
        value = (value << 8) | np.int64(buffer[place])
    return value


@njit(cache=True, nogil=True)
def _known_action(buffer: NDArray[np.uint8], at: int, size: int, names: NDArray[np.uint8], ends: Ints) -> int:
    begin = 0
    for action in range(len(ends)):
        if ends[action] - begin == size:
            same = True
            for place in range(size):
                if buffer[at + place] != names[begin + place]:
                    same = False
                    break
            if same:
                return action
        begin = ends[action]
    return -1


@njit(cache=True, nogil=True)
def _find_fields(buffer: NDArray[np.uint8], at: int, start: Ints, size: Ints) -> int:
    """Fill in where the fields of the row at `at` begin and their bytes (-1: null); return where it ends.

    Returns -1 where the buffer ends before.
    """
    for field in range(len(start)):
        if at + 4 > len(buffer):
            return -1
        size[field] = _integer(buffer, at, 4)
        start[field] = at + 4
        at += 4 + max(size[field], 0)
    return at if at <= len(buffer) else -1


@njit(cache=True, nogil=True)
def _decode_row(
    buffer: NDArray[np.uint8], start: Ints, size: Ints, is_text: NDArray[np.bool_], values: Ints
) -> tuple[bool, bool]:
    """Fill in time, both ids (the place of a text) and target; return whether usable, and whether of a known form."""
    for field in range(4):
        if size[field] < 0 or (size[field] == 0 and field != 3):
            return False, True
    if size[0] not in (4, 8) or (size[1] != 8 and not is_text[0]) or (size[2] != 8 and not is_text[1]):
        return False, False
    moment = _integer(buffer, start[0], size[0])
    if size[0] == 4:  # a date: days
        endless = moment in _ENDLESS_DATES
        values[0] = moment * 86_400 + EPOCH_S
    else:  # microseconds
        endless = moment in _ENDLESS_TIMES
        values[0] = moment // 1_000_000 + EPOCH_S
    for which in range(2):
        begin = start[1 + which]
        values[1 + which] = begin if is_text[which] else _integer(buffer, begin, 8)
    values[3] = TARGET_NULL
    if size[4] >= 0:
        value = _integer(buffer, start[4], size[4])
        values[3] = value if value in (0, 1) else TARGET_OTHER
    return not endless, True


@njit(cache=True, nogil=True)
def decode_rows(
    buffer: NDArray[np.uint8],
    begin: int,
    is_text: NDArray[np.bool_],
    names: NDArray[np.uint8],
    ends: Ints,
    at_s: Ints,
    ids: NDArray[np.int64],
    sizes: NDArray[np.int32],
    action: NDArray[np.int8],
    target: NDArray[np.int8],
) -> tuple[int, int, int]:
    """Decode whole rows (time, user, post, action, target) from `begin` on; return where it stopped, usable, bad rows.

    A row with a null among the first four, an endless time, an empty id or an action that is not known is bad and left
    out. names, ends : the known actions in UTF-8 one after the other, and where each ends. The rest is filled:
    at_s : seconds since 1970. ids : (2, n) the integer id, or where `is_text` the place of its text in `buffer`, whose
    bytes are in sizes (2, n). action : index of the name. target : TARGET_0, TARGET_1, TARGET_OTHER or TARGET_NULL.
    Returns -1 as the place where a row is not of that form.
    """
    start, size, values = np.zeros(FIELDS, np.int64), np.zeros(FIELDS, np.int64), np.zeros(4, np.int64)
    rows = bad = 0
    at = begin
    while rows < len(at_s) and at + 2 <= len(buffer):
        fields = _integer(buffer, at, 2)
        if fields == -1:  # the end of all rows
            return at + 2, rows, bad
        if fields != FIELDS:
            return -1, rows, bad
        end = _find_fields(buffer, at + 2, start, size)
        if end < 0:
            break
        at = end
        usable, known_form = _decode_row(buffer, start, size, is_text, values)
        if not known_form:
            return -1, rows, bad
        known = _known_action(buffer, start[3], size[3], names, ends) if usable else -1
        if known < 0:
            bad += 1
            continue
        at_s[rows], action[rows], target[rows] = values[0], known, values[3]
        for which in range(2):
            ids[which, rows], sizes[which, rows] = values[1 + which], size[1 + which]
        rows += 1
    return at, rows, bad


@njit(cache=True, nogil=True)
def gather_texts(buffer: NDArray[np.uint8], begins: Ints, offsets: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
    """Copy the text at each of `begins` to out[offsets[i] : offsets[i + 1]]."""
    for row in range(len(begins)):
        begin, first = begins[row], offsets[row]
        for place in range(offsets[row + 1] - first):
            out[first + place] = buffer[begin + place]
