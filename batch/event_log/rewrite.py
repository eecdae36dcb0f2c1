"""Puts what was read in the place of what the log held of it, and leaves the segments that it does not touch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batch.event_log.files import entry_of, read_file, write_file
from batch.event_log.queries import Span
from batch.event_log.segments import LONGEST_S, SEGMENT_ROWS, Segment, from_bytes, to_bytes
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
    """Makes the next list of segments. next_file : number of the next file."""

    def __init__(self, folder: Path, segments: Sequence[Segment], next_file: int) -> None:
        self._folder = folder
        self._segments = segments
        self._same = {(segment.file.size, segment.file.crc, segment.first_s): segment for segment in segments}
        self.next_file = next_file

    def run(self, spans: Sequence[Span], units: Iterable[Unit], users: Order, posts: Order) -> tuple[Segment, ...]:
        """Return the segments with the rows of `units` for what the log held of `spans`."""
        items: list[Segment | _Piece] = [_of_unit(unit, users, posts) for unit in units]
        for segment in self._segments:
            begin_s = _begin_within(spans, segment)
            if begin_s is None:
                items.append(segment)
            else:
                items.extend(self._kept(segment, begin_s))
        items.sort(key=lambda item: item.first_s)
        return tuple(self._grouped(self._loosened(items)))

    def _kept(self, segment: Segment, begin_s: int) -> Iterator[_Piece]:
        """Give the events of a segment before the span that it reaches into, if there are any."""
        if begin_s > segment.first_s:
            events = self._load(segment)
            events = events.slice(0, int(np.searchsorted(events.at_s, begin_s)))
            # What was seen first before the cut is still seen first then; of the rest nothing was seen before it.
            earliest = np.array(segment.earliest)
            earliest = np.where(earliest < begin_s, earliest, NEVER)
            yield _Piece(len(events), segment.first_s, int(events.at_s[-1]), earliest, lambda: events)

    def _loosened(self, items: Sequence[Segment | _Piece]) -> Iterator[Segment | _Piece]:
        """Turn small segments beside what is written anyway into pieces, so that their number stays bounded."""
        for place, item in enumerate(items):
            beside = [other for other in items[max(place - 1, 0) : place + 2] if isinstance(other, _Piece)]
            if isinstance(item, Segment) and item.rows < SEGMENT_ROWS // 2 and beside:
                yield self._of_segment(item)
            else:
                yield item

    def _of_segment(self, segment: Segment) -> _Piece:
        earliest = np.array(segment.earliest)
        return _Piece(segment.rows, segment.first_s, segment.last_s, earliest, lambda: self._load(segment))

    def _grouped(self, items: Iterable[Segment | _Piece]) -> Iterator[Segment]:
        """Write pieces, as many to a segment as it may hold."""
        group: list[_Piece] = []
        for item in items:
            if group and not (isinstance(item, _Piece) and _fits(group, item)):
                yield self._written(group)
                group = []
            if isinstance(item, Segment):
                yield item
            else:
                group.append(item)
        if group:
            yield self._written(group)

    def _written(self, group: Sequence[_Piece]) -> Segment:
        """Write a segment, unless one that is there already is the same."""
        data, user_bytes, post_bytes = to_bytes(join([piece.events() for piece in group]))
        first_s = group[0].first_s
        name = f"{self.next_file:08}.events"
        entry = entry_of(name, data)
        same = self._same.get((entry.size, entry.crc, first_s))
        if same is None:
            write_file(self._folder, name, data)
            self.next_file += 1
        return Segment(
            same.file if same else entry,
            sum(piece.rows for piece in group),
            first_s,
            group[-1].last_s,
            user_bytes,
            post_bytes,
            tuple(np.min([piece.earliest for piece in group], axis=0).tolist()),
        )

    def _load(self, segment: Segment) -> Columns:
        return from_bytes(segment, read_file(self._folder, segment.file))


def _of_unit(unit: Unit, users: Order, posts: Order) -> _Piece:
    return _Piece(unit.rows, unit.first_s, unit.last_s, unit.earliest, lambda: unit.sorted_rows(users, posts))


def _begin_within(spans: Sequence[Span], segment: Segment) -> int | None:
    """Return the second from which on a span takes over the segment; None where none does.

    A span that reaches into a segment goes on to its end: it is without an end, or that of whole segments.
    """
    for span in spans:
        begin_s = segment.first_s if span.begin_s is None else max(span.begin_s, segment.first_s)
        end_s = segment.last_s + 1 if span.end_s is None else span.end_s
        if begin_s <= segment.last_s and end_s > segment.first_s:
            return begin_s
    return None


def _fits(group: Sequence[_Piece], piece: _Piece) -> bool:
    rows = sum(member.rows for member in group) + piece.rows
    return rows <= SEGMENT_ROWS and piece.last_s - group[0].first_s <= LONGEST_S
