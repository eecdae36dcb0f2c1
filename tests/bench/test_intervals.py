import pytest

from bench.intervals import Estimate, bootstrap_by_user


def test_a_single_user_leaves_nothing_to_vary() -> None:
    assert bootstrap_by_user(["a"] * 4, [1, 0, 0, 0]) == Estimate(0.25, 0.25, 0.25)


def test_the_mean_is_over_cases_and_not_over_users() -> None:
    # a: 0 of 3, b: 1 of 1. Drawn twice of two: aa gives 0 (1 in 4), bb gives 1 (1 in 4), ab gives 1/4 (half of them).
    assert bootstrap_by_user(["a", "b", "a", "a"], [0, 1, 0, 0]) == Estimate(0.25, 0.0, 1.0)


def test_cases_of_one_user_count_as_one_draw() -> None:
    values = [1, 0] * 50
    alone = bootstrap_by_user([str(case) for case in range(100)], values)
    of_ten = bootstrap_by_user([str(case % 10) for case in range(100)], values)
    # 100 independent cases: 1.96 × 0.5 / √100 = 0.098; ten users who always hit or always miss: √10 times as wide.
    assert alone.high - alone.mean == pytest.approx(0.098, abs=0.015)
    assert of_ten.high - of_ten.mean == pytest.approx(0.31, abs=0.05)


def test_the_same_seed_gives_the_same_interval() -> None:
    users, values = list("abcdefgh"), [1, 0, 0, 1, 1, 0, -1, 0]
    assert bootstrap_by_user(users, values, seed=3) == bootstrap_by_user(users, values, seed=3)
