"""Puts what was read in the place of what the log held of it, and leaves the blocks that it does not touch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batch.event_log.blocks import BLOCK_ROWS, LONGEST_S, Block, from_bytes, to_bytes
from batch.event_log.files import entry_of, read_file, write_file
from batch.event_log.queries import Span
from batch.event_log.sorting import NEVER, Columns, Order, Unit, join
from batch.tables import Ints


@dataclass(frozen=True)
class _Piece:
    """Events that are to be written, and how they are come by."""

    rows: int
    first_s: int
    last_s: int
    earliest: Ints
    events: Callable[[], Columns]


class Rewrite:
    """Makes the next list of blocks. next_file : number of the next file."""

    def __init__(self, folder: Path, blocks: Sequence[Block], next_file: int) -> None:
        self._folder = folder
        self._blocks = blocks
        self._same = {(block.file.size, block.file.crc, block.first_s): block for block in blocks}
        self.next_file = next_file

    def run(self, spans: Sequence[Span], units: Iterable[Unit], users: Order, posts: Order) -> tuple[Block, ...]:
        """Return the blocks with the rows of `units` for what the log held of `spans`."""
        items: list[Block | _Piece] = [_of_unit(unit, users, posts) for unit in units]
        for block in self._blocks:
            begin_s = _begin_within(spans, block)
            if begin_s is None:
                items.append(block)
            else:
                items.extend(self._kept(block, begin_s))
        items.sort(key=lambda item: item.first_s)
        return tuple(self._grouped(self._loosened(items)))

    def _kept(self, block: Block, begin_s: int) -> Iterator[_Piece]:
        """Give the events of a block before the span that it reaches into, if there are any."""
        if begin_s > block.first_s:
            events = self._load(block)
            events = events.slice(0, int(np.searchsorted(events.at_s, begin_s)))
            # What was seen first before the cut is still seen first then; of the rest nothing was seen before it.
            earliest = np.array(block.earliest)
            earliest = np.where(earliest < begin_s, earliest, NEVER)
            yield _Piece(len(events), block.first_s, int(events.at_s[-1]), earliest, lambda: events)

    def _loosened(self, items: Sequence[Block | _Piece]) -> Iterator[Block | _Piece]:
        """Turn small blocks beside what is written anyway into pieces, so that their number stays bounded."""
        for place, item in enumerate(items):
            beside = [other for other in items[max(place - 1, 0) : place + 2] if isinstance(other, _Piece)]
            if isinstance(item, Block) and item.rows < BLOCK_ROWS // 2 and beside:
                yield self._of_block(item)
            else:
                yield item

    def _of_block(self, block: Block) -> _Piece:
        earliest = np.array(block.earliest)
        return _Piece(block.rows, block.first_s, block.last_s, earliest, lambda: self._load(block))

    def _grouped(self, items: Iterable[Block | _Piece]) -> Iterator[Block]:
        """Write pieces, as many to a block as it may hold."""
        group: list[_Piece] = []
        for item in items:
            if group and not (isinstance(item, _Piece) and _fits(group, item)):
                yield self._written(group)
                group = []
            if isinstance(item, Block):
                yield item
            else:
                group.append(item)
        if group:
            yield self._written(group)

    def _written(self, group: Sequence[_Piece]) -> Block:
        """Write a block, unless one that is there already is the same."""
        data, user_bytes, post_bytes = to_bytes(join([piece.events() for piece in group]))
        first_s = group[0].first_s
        name = f"{self.next_file:08}.events"
        entry = entry_of(name, data)
        same = self._same.get((entry.size, entry.crc, first_s))
        if same is None:
            write_file(self._folder, name, data)
            self.next_file += 1
        return Block(
            same.file if same else entry,
            sum(piece.rows for piece in group),
            first_s,
            group[-1].last_s,
            user_bytes,
            post_bytes,
            tuple(np.min([piece.earliest for piece in group], axis=0).tolist()),
        )

    def _load(self, block: Block) -> Columns:
        return from_bytes(block, read_file(self._folder, block.file))


def _of_unit(unit: Unit, users: Order, posts: Order) -> _Piece:
    return _Piece(unit.rows, unit.first_s, unit.last_s, unit.earliest, lambda: unit.sorted_rows(users, posts))


def _begin_within(spans: Sequence[Span], block: Block) -> int | None:
    """Return the second from which on a span takes over the block; None where none does.

    A span that reaches into a block goes on to its end: it is without an end, or that of whole blocks.
    """
    for span in spans:
        begin_s = block.first_s if span.begin_s is None else max(span.begin_s, block.first_s)
        end_s = block.last_s + 1 if span.end_s is None else span.end_s
        if begin_s <= block.last_s and end_s > block.first_s:
            return begin_s
    return None


def _fits(group: Sequence[_Piece], piece: _Piece) -> bool:
    rows = sum(member.rows for member in group) + piece.rows
    return rows <= BLOCK_ROWS and piece.last_s - group[0].first_s <= LONGEST_S
