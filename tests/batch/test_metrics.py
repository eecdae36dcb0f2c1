"""Metrics by hand, and against an independent library."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from batch.metrics import hit_rate_at_k, interval_95, map_at_k, ndcg_at_k, recall_at_k

HITS = np.array([[False, True, False, True], [False, False, False, False], [True, False, False, False]])
RELEVANT = np.array([3, 1, 1])


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


def test_discounted_gain_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    k, n_posts = 5, 12
    for _ in range(50):
        relevant = random.random(n_posts) < 0.3
        if not relevant.any():
            continue
        scores = random.permutation(n_posts).astype(np.float64)
        top = np.argsort(-scores)[:k]
        ours = ndcg_at_k(relevant[top][None, :], np.array([relevant.sum()]))[0]
        assert ours == pytest.approx(ndcg_score([relevant.astype(float)], [scores], k=k))


def test_the_interval_is_that_of_users_not_of_cases() -> None:
    # Ten users whose 100 cases are all alike tell as little as ten cases.
    by_user = np.array([0.0, 1.0] * 5)
    few = interval_95(by_user, np.arange(10))
    many = interval_95(np.repeat(by_user, 100), np.repeat(np.arange(10), 100))
    assert few == pytest.approx(1.96 * 0.5 / np.sqrt(10), rel=0.15)
    assert many == pytest.approx(few, rel=1e-9)
    assert interval_95(np.ones(50), np.arange(50)) == 0
    assert np.isnan(interval_95(np.ones(3), np.zeros(3, dtype=np.int64)))
