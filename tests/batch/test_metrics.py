"""Metrics by hand, and against an independent implementation: NIST's trec_eval."""

import numpy as np
import pytest
from pytrec_eval import RelevanceEvaluator

from batch.metrics import hit_rate_at_k, hits_of, interval_95, map_at_k, ndcg_at_k, recall_at_k

HITS = np.array([[False, True, False, True], [False, False, False, False], [True, False, False, False]])
RELEVANT = np.array([3, 1, 1])


def test_hits_are_those_of_the_case_itself() -> None:
    top = np.array([[3, 1, -1], [2, 3, 0], [-1, -1, -1]], dtype=np.int32)
    relevant = [np.array([1, 2]), np.array([3]), np.array([0])]
    assert hits_of(top, relevant).tolist() == [[False, True, False], [False, True, False], [False] * 3]
    assert hits_of(top[:0], []).shape == (0, 3)
    assert hits_of(top[:1], [np.zeros(0, dtype=np.int64)]).tolist() == [[False] * 3]


def test_hit_rate_and_recall_by_hand() -> None:
    assert hit_rate_at_k(HITS).tolist() == [1, 0, 1]
    assert recall_at_k(HITS, RELEVANT).tolist() == [2 / 3, 0, 1]


def test_average_precision_by_hand() -> None:
    # Hits at places 2 and 4 of four, three posts relevant: (1/2 + 2/4) / 3.
    assert map_at_k(HITS, RELEVANT).tolist() == [1 / 3, 0, 1]
    assert map_at_k(HITS[:, :2], RELEVANT)[0] == (1 / 2) / 2  # two places allow two hits


def test_discounted_gain_by_hand() -> None:
    gain = 1 / np.log2(3) + 1 / np.log2(5)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg_at_k(HITS, RELEVANT).tolist() == pytest.approx([gain / best, 0, 1])


@pytest.mark.parametrize("k", [1, 5, 10])
def test_all_metrics_agree_with_trec_eval_on_the_same_lists(k: int) -> None:
    random = np.random.default_rng(k)
    relevant = [random.choice(30, random.integers(1, 9), replace=False) for _ in range(200)]
    lists = [random.choice(30, random.integers(0, k + 1), replace=False) for _ in range(200)]
    hits = np.array(
        [
            [post in wanted for post in top] + [False] * (k - len(top))
            for top, wanted in zip(lists, relevant, strict=True)
        ]
    )
    n_relevant = np.array([len(wanted) for wanted in relevant])
    judged = {f"{q}": {f"{post}": 1 for post in wanted} for q, wanted in enumerate(relevant)}
    run = {f"{q}": {f"{post}": 1.0 / (place + 1) for place, post in enumerate(top)} for q, top in enumerate(lists)}
    names = f"success.{k}", f"recall.{k}", f"ndcg_cut.{k}", f"map_cut.{k}"
    theirs = RelevanceEvaluator(judged, set(names)).evaluate(run)
    none = dict.fromkeys((name.replace(".", "_") for name in names), 0.0)  # of an empty list trec_eval says nothing
    expected = {name: [theirs.get(f"{q}", none)[name] for q in range(200)] for name in none}
    np.testing.assert_allclose(hit_rate_at_k(hits), expected[f"success_{k}"])
    np.testing.assert_allclose(recall_at_k(hits, n_relevant), expected[f"recall_{k}"])
    np.testing.assert_allclose(ndcg_at_k(hits, n_relevant), expected[f"ndcg_cut_{k}"])
    # trec_eval divides by all that is relevant, ours by what k places can hold.
    held = np.minimum(n_relevant, k) / n_relevant
    np.testing.assert_allclose(map_at_k(hits, n_relevant) * held, expected[f"map_cut_{k}"])
    assert 0 < hit_rate_at_k(hits).mean() < 1


def test_the_interval_is_that_of_users_not_of_cases() -> None:
    # Ten users whose 100 cases are all alike tell as little as ten cases.
    by_user = np.array([0.0, 1.0] * 5)
    few = interval_95(by_user, np.arange(10))
    many = interval_95(np.repeat(by_user, 100), np.repeat(np.arange(10), 100))
    assert few == pytest.approx(1.96 * 0.5 / np.sqrt(10), rel=0.15)
    assert many == pytest.approx(few, rel=1e-9)
    assert interval_95(np.ones(50), np.arange(50)) == 0
    assert np.isnan(interval_95(np.ones(3), np.zeros(3, dtype=np.int64)))
