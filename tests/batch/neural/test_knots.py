"""Numbers in quantile bins, with values worked out by hand."""

import numpy as np

from batch.neural.knots import Knots, find_knots

NAN = float("nan")


def matrix(*rows: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(rows, dtype=np.float32)


def test_a_number_fills_the_bins_below_it_and_its_own_by_its_share() -> None:
    knots = Knots(matrix((0, 1, 2, 4)))
    encoded = knots.encode(matrix((0.5,), (1,), (3,), (9,), (-9,)))
    assert encoded.tolist() == [[0.5, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_a_missing_number_fills_nothing_and_is_told_in_its_columns_place() -> None:
    knots = Knots(matrix((0, 1), (0, 2)))
    assert knots.width == 4
    assert knots.encode(matrix((NAN, 1), (1, NAN))).tolist() == [[0, 0.5, 1, 0], [1, 0, 0, 1]]


def test_a_bin_without_width_is_a_step() -> None:
    assert Knots(matrix((5, 5))).encode(matrix((4,), (5,), (6,))).tolist() == [[0, 0], [0, 0], [1, 0]]


def test_knots_are_the_quantiles_of_what_is_known() -> None:
    column = [*range(9), NAN]
    knots = find_knots(np.array([column, [NAN] * 10], dtype=np.float32).T)
    assert knots.at.tolist() == [list(range(9)), [0] * 9]
