"""How much of a shard goes to Redis at once."""

import pytest

from slates.entry import Entry
from slates.pace import LEAST_BYTES, Pace, pieces


def entries(*sizes: int) -> list[Entry]:
    return [Entry(f"key:{number}", b"x" * size, True, size, 1, size) for number, size in enumerate(sizes)]


def test_a_near_redis_gets_little_at_once_however_long_it_works() -> None:
    pace = Pace()
    pace.heard(LEAST_BYTES, 0.000_6)  # 0.49 ms of work at 100 MB/s, which leaves 0.11 ms for the way: 11 kB
    assert pace.piece_bytes == LEAST_BYTES


def test_a_far_redis_gets_as_much_as_takes_as_long_as_the_way() -> None:
    pace = Pace()
    pace.heard(200_000, 0.012)  # 2 ms of work, so 10 ms of way, in which 1 MB would be carried out
    assert pace.piece_bytes == pytest.approx(1_000_000, rel=0.001)


def test_a_piece_that_had_to_wait_for_a_core_is_forgotten() -> None:
    pace = Pace()
    for seconds in (0.050, 0.000_6, 0.050):
        pace.heard(LEAST_BYTES, seconds)
    assert pace.piece_bytes == LEAST_BYTES


def test_all_entries_go_in_order_within_the_bytes_and_the_number() -> None:
    half = LEAST_BYTES // 2
    given = entries(half, half, 1, 3 * LEAST_BYTES, 5, 5, 5, 5)
    found = list(pieces(given, 3, Pace()))
    assert [[len(entry.commands) for entry in piece] for piece in found] == [
        [half, half],  # one byte more would be too much
        [1],
        [3 * LEAST_BYTES],  # larger than a piece may be, so alone
        [5, 5, 5],  # three at most
        [5],
    ]
    assert [entry for piece in found for entry in piece] == given


def test_what_is_heard_counts_from_the_next_piece_on() -> None:
    pace = Pace()
    sizes = []
    for piece in pieces(entries(*[LEAST_BYTES // 4] * 20), 100, pace):
        sizes.append(len(piece))
        pace.heard(0, 2.5 * LEAST_BYTES / 100e6)  # in that time, two and a half times the least
    assert sizes == [4, 10, 6]
