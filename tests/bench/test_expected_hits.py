"""The judge counts expected hits as the oracle knows them, among what a user has not been shown."""

from pathlib import Path

import numpy as np
import pytest

from batch.settings import BatchSettings
from batch.tables import HOUR_S
from bench.oracle import Judge, measure
from demo.oracle import Oracle
from demo.parameters import Parameters

HOUR = 480_000


class _View:
    n_posts = 3
    tau_s = HOUR * HOUR_S


def judge() -> Judge:
    """Return a judge of one user for whom the odds of three posts are 1, 1/3 and 3, in two hours."""
    oracle = Oracle(
        user_ids=np.array([10]),
        user_segment=np.array([0]),
        user_logit=np.zeros(1),
        user_taste=np.zeros((1, 1)),
        post_ids=np.array([1, 2, 3]),
        post_group=np.zeros(3, dtype=np.int64),
        post_topic=np.zeros(3, dtype=np.int64),
        post_logit=np.log([1, 1 / 3, 3]),
        published_s=np.zeros(3, dtype=np.int64),
        cell_logit=np.zeros((1, 1)),
        hour_logit=np.zeros(24),
        growth_s=np.array([0, 1]),
        growth_logit=np.zeros(2),
        fresh_logit=np.asarray(0.0),
        half_life_d=np.asarray(1.0),
    )
    candidate = np.array([[True, True, False]])
    return Judge(oracle, _View(), np.array([0]), range(HOUR, HOUR + 2), candidate)  # type: ignore[arg-type]


def test_a_slate_hits_unless_all_its_posts_miss() -> None:
    # Probabilities 1/2, 1/4, 3/4. In the first hour two posts, 1 - 1/2 · 3/4; in the second one of them.
    slates = np.array([[[0, 1, -1], [2, -1, -1]]], dtype=np.int32)
    assert judge().expected_hits(slates).tolist() == pytest.approx([(5 / 8 + 3 / 4) / 2])


def test_the_oracles_best_are_those_that_may_be_shown() -> None:
    assert judge().best()[0, 0, :2].tolist() == [0, 1]


def test_the_default_ranker_comes_close_to_the_bound_and_beats_popularity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = measure(BatchSettings(state=tmp_path), Parameters(users=300, posts=150, days=7))
    assert "view is taken for no more than shown" in capsys.readouterr().out
    assert figures["oracle.hits@5"] > figures["bound.hits@5"] > figures["hourfeed.hits@5"]
    assert figures["hourfeed.share_of_bound"] > 0.85  # a week of 300 users; the targets are for the demo
    assert figures["hourfeed.share_of_popular_24h"] > 1.05
    assert figures["cold.users"] == 6
