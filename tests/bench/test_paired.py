"""Figures of four cases of two users, by hand."""

import numpy as np
import pytest

from batch.replay import ReplayCases, ReplayResult
from bench.paired import best_baseline, compare, difference, hit_by_case

USER = np.array([7, 7, 8, 8])
HIT = {
    "hourfeed": np.array([1.0, 1.0, 1.0, 0.0]),
    "hourfeed_lag_blind": np.array([1.0, 1.0, 1.0, 1.0]),
    "newest": np.array([0.0, 1.0, 0.0, 0.0]),
    "popular_1h": np.array([1.0, 0.0, 1.0, 0.0]),
}


def test_the_best_baseline_is_none_of_our_own() -> None:
    assert best_baseline(HIT) == "popular_1h"


def test_ours_is_compared_with_the_best_baseline_case_by_case() -> None:
    figures = compare(HIT, USER)
    assert {name: figures[name] for name in ("cases", "hourfeed.hitrate@5", "best_baseline.hitrate@5", "ratio")} == {
        "cases": 4,
        "hourfeed.hitrate@5": 0.75,
        "best_baseline.hitrate@5": 0.5,
        "ratio": 1.5,
    }
    assert figures["difference.mean"] == 0.25


def test_the_interval_of_a_difference_draws_users_anew() -> None:
    # User 7 has one hit more in two cases, user 8 none: the means of both drawn anew are 0, 1/4 or 1/2.
    assert difference(HIT["hourfeed"], HIT["popular_1h"], USER) == {"mean": 0.25, "low": 0.0, "high": 0.5}


def test_differences_that_are_the_same_for_all_users_have_no_width() -> None:
    one = np.ones(4)
    assert difference(one, one * 0.5, USER) == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_a_ranker_by_itself_is_compared_with_nobody() -> None:
    assert compare({"hourfeed": HIT["hourfeed"]}, USER).keys() == {
        "cases",
        "hourfeed.hitrate@5",
        "hourfeed.interval_95",
    }


@pytest.mark.parametrize(("among", "hits"), [(None, [1.0, 0.0, 1.0]), (np.array([False, True, True]), [0.0, 1.0])])
def test_a_hit_is_a_case_with_a_touched_post_in_its_list(among: np.ndarray | None, hits: list[float]) -> None:
    posts = [np.array([3]), np.array([4]), np.array([5, 9])]
    times = np.arange(3)
    cases = ReplayCases(user=times, at_s=times, tau_s=times, posts=posts, n_before=times)
    top = np.array([[1, 3], [1, 3], [9, -1]], dtype=np.int32)
    result = ReplayResult(None, cases, cases, {"lightgbm": top}, {}, {})  # type: ignore[arg-type]
    assert hit_by_case(result, among)["hourfeed"].tolist() == hits
