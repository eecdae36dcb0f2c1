"""The pace of bulk writing: how much goes to Redis before its answer is waited for.

Whoever writes without a pause keeps Redis and a core busy, and readers of the same machine wait for both. So little
goes at once that Redis is soon done with it, and the writer waits while it works: of two cores one is always near to
free. Where Redis is far, the way there and back would cost more than the work; so much is sent as takes equally long.
"""

from collections.abc import Iterator, Sequence

from slates.entry import Entry

LEAST_BYTES = 48 * 1024
"""Of commands; Redis carries them out in a third of a millisecond, by the codec `ids`, and faster by `packed`."""
_BYTES_PER_S = 100e6
"""What is sent, carried out, answered and read in a second, on one machine."""


class Pace:
    """Learns from each piece how far Redis is, and says how large the next one may be."""

    def __init__(self) -> None:
        self._round_trip_s: float | None = None

    @property
    def piece_bytes(self) -> int:
        """Return the bytes of commands that may go at once."""
        return max(LEAST_BYTES, int((self._round_trip_s or 0.0) * _BYTES_PER_S))

    def heard(self, n_bytes: int, seconds: float) -> None:
        """Hear how long a piece took. The least that is left for the way counts: waiting for a core is no distance."""
        way_s = max(0.0, seconds - n_bytes / _BYTES_PER_S)
        self._round_trip_s = way_s if self._round_trip_s is None else min(self._round_trip_s, way_s)


def pieces(entries: Sequence[Entry], at_most: int, pace: Pace) -> Iterator[Sequence[Entry]]:
    """Yield entries in turn, at least one and `at_most` so many at once, of the size that the pace allows by then."""
    begin = 0
    while begin < len(entries):
        end, n_bytes = begin + 1, len(entries[begin].commands)
        while end < min(len(entries), begin + at_most):
            n_bytes += len(entries[end].commands)
            if n_bytes > pace.piece_bytes:
                break
            end += 1
        yield entries[begin:end]
        begin = end
