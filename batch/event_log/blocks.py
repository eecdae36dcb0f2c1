"""A block: up to some million events in order, in one file, 11 to 13 bytes each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from batch.event_log.errors import CorruptLogError
from batch.event_log.files import FileEntry
from batch.event_log.sorting import Columns

BLOCK_ROWS = 1 << 22
LONGEST_S = (1 << 31) - 1
"""Seconds that a block spans at most, so that they fit 32 bits."""


@dataclass(frozen=True)
class Block:
    """An entry of the manifest.

    first_s, last_s : seconds of the first and the last event. earliest : for each action and each value of `target`
    (0, 1, other, null) the second in which it was first seen, NEVER for not at all.
    """

    file: FileEntry
    rows: int
    first_s: int
    last_s: int
    user_bytes: int
    post_bytes: int
    earliest: tuple[int, ...]


def to_bytes(events: Columns) -> tuple[bytes, int, int]:
    """Return the file's content, and the bytes of a user and of a post in it: column after column, little-endian."""
    user_bytes, post_bytes = (2 if values.max() < 1 << 16 else 4 for values in (events.user, events.post))
    offset = events.at_s - events.at_s[0]
    columns = (
        offset.astype("<u4"),
        events.user.astype(f"<u{user_bytes}"),
        events.post.astype(f"<u{post_bytes}"),
        events.action,
    )
    return b"".join(column.tobytes() for column in columns), user_bytes, post_bytes


def fill(block: Block, data: bytes, out: Columns) -> None:
    """Write the first events of a block, as many as there are places, into arrays."""
    rows, begin, end = block.rows, 0, len(out)
    widths = (4, block.user_bytes, block.post_bytes, 1)
    if len(data) != rows * sum(widths):
        raise CorruptLogError(f"{block.file.name} is of another size than its rows")
    into: tuple[Any, ...] = (out.at_s, out.user, out.post, out.action)
    for width, values in zip(widths, into, strict=True):
        values[:] = np.frombuffer(data, dtype=f"<u{width}", count=end, offset=begin)
        begin += rows * width
    np.add(out.at_s, block.first_s, out=out.at_s)


def empty(rows: int) -> Columns:
    """Return arrays for so many events."""
    return Columns(
        np.empty(rows, np.int64), np.empty(rows, np.int32), np.empty(rows, np.int32), np.empty(rows, np.int8)
    )


def from_bytes(block: Block, data: bytes) -> Columns:
    """Return the events of a block."""
    events = empty(block.rows)
    fill(block, data, events)
    return events


def rows_before(block: Block, data: bytes, moment_s: int) -> int:
    """Count the events of a block before a moment."""
    offset = np.frombuffer(data, dtype="<u4", count=block.rows)
    return int(np.searchsorted(offset.astype(np.int64), moment_s - block.first_s))
