"""The benchmark of two schedulers, in short, and the counting of flips by hand."""

import pytest

from bench.schedulers import Flips, schedulers


@pytest.mark.parametrize(
    ("seqs", "out_of_order"), [([], 0), ([1, 2, 5], 0), ([1, 3, 2, 4], 1), ([2, 2], 1), ([5, 4, 3], 2)]
)
def test_flips_to_a_run_that_is_not_newer_are_counted(seqs: list[int], out_of_order: int) -> None:
    assert Flips("", seqs).out_of_order == out_of_order


def test_two_schedulers_of_which_one_is_paused_again_and_again_never_flip_out_of_order() -> None:
    figures = schedulers(ticks=12, every_s=1)
    assert figures["flips.n"] == figures["runs.published"] >= 2
    assert figures["pauses.n"] >= 1
    assert figures["flips.out_of_order"] == 0
    assert figures["ticks.published_twice"] == 0
