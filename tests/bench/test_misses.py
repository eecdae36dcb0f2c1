"""Where the misses are, on a handful of cases by hand."""

from types import SimpleNamespace

import numpy as np

from batch.replay import ReplayCases, ReplayResult
from batch.tables import HOUR_S
from bench.misses import Part, by_weight, others_in_the_hour, place_of_best, split

POSTS = [np.array([3]), np.array([9, 4]), np.array([5])]
TOP = np.array([[1, 3], [4, 9], [2, -1]], dtype=np.int32)


def _result(scores: np.ndarray) -> ReplayResult:
    times = np.arange(3)
    cases = ReplayCases(user=times, at_s=times + 7 * HOUR_S, tau_s=times, posts=POSTS, n_before=times)
    return ReplayResult(None, cases, cases, {"lightgbm": TOP}, {"lightgbm": scores}, {})  # type: ignore[arg-type]


def test_the_best_touched_post_counts_and_the_length_of_the_list_stands_for_none() -> None:
    assert place_of_best(TOP, POSTS).tolist() == [1, 0, 2]


def test_each_part_has_its_share_of_cases_and_of_misses() -> None:
    hit = np.array([True, False, False, False])
    assert split(np.array([1.0, 1.0, 2.0, np.inf]), hit, (2, 3, 4)) == [
        Part("below 2", 0.5, 0.5, 1 / 3),
        Part("2 to below 3", 0.25, 0.0, 1 / 3),
        Part("4 and more", 0.25, 0.0, 1 / 3),
    ]


def test_the_oracle_knows_first_touches_of_others_in_the_hour_of_the_case_alone() -> None:
    # Users 0 to 2 have the cases; user 8 comes to post 3 in that hour, to 1 before it, to 9 a second time.
    user, post = np.array([8, 8, 0, 8, 8, 1, 1, 2]), np.array([9, 1, 3, 3, 9, 9, 4, 5])
    at_s = np.array([5, 6, 7, 7, 7, 7, 7, 7]) * HOUR_S
    tables = SimpleNamespace(
        events=SimpleNamespace(user=user, post=post, at_s=at_s), posts=SimpleNamespace(ids=np.arange(10))
    )
    others = others_in_the_hour(tables, _result(np.zeros((3, 2))))  # type: ignore[arg-type]
    assert others.tolist() == [[0, 1], [0, 0], [0, 0]]


def test_what_others_do_lifts_a_post_as_far_as_its_weight_says(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("bench.misses.K", 1)
    result = _result(np.array([[1.0, 0.5], [1.0, 0.5], [1.0, np.nan]]))
    others = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    hit = by_weight(result, others)
    # ln 2 × .5 is less than the .5 between the first two scores, ln 2 × 1 is more.
    assert [hit[weight].tolist() for weight in (0.5, 1.0)] == [[False, True, False], [True, True, False]]
