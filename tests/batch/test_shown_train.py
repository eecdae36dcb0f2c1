"""Where it is known what was shown, trees add to the response model only what they can prove."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_response import N_USERS, network

from batch.cases import Cases
from batch.features.matrix import Column
from batch.features.response import response
from batch.features.view import View
from batch.model import Model, load_model, save_model
from batch.scorer import SeparableScorer
from batch.shown_train import base_of, train_on_shown
from batch.tables import HOUR_S
from batch.train import Training, as_booster
from batch.trees import parse_trees

COLUMNS = [Column("A", "response"), Column("A", "profile.luck")]
TRAINING = Training(trees=30, leaves=4, learning_rate=0.1, seed=0)


def cases(*, luck_counts: bool) -> Cases:
    """Make 400 groups of 10; the base is right but for luck, where that counts."""
    random = np.random.default_rng(1)
    base, luck = random.normal(-1, 1, 4000), random.normal(0, 1, 4000)
    happened = random.random(4000) < 1 / (1 + np.exp(-(base + 2 * luck * luck_counts)))
    matrix = np.column_stack([base, luck]).astype(np.float32)
    return Cases(matrix, happened.astype(np.int32) * 2, np.full(400, 10), np.ones(4000))


def train(given: Cases, columns: list[Column] = COLUMNS) -> tuple[str, list[Column]]:
    return train_on_shown(given, columns, TRAINING, lambda _done, _total: None)


def test_trees_that_help_are_kept_and_add_to_the_response_model() -> None:
    given = cases(luck_counts=True)
    trees, columns = train(given)
    assert parse_trees(trees)
    added = as_booster(trees).predict(given.matrix[:, [COLUMNS.index(column) for column in columns]], raw_score=True)
    assert np.corrcoef(added, given.matrix[:, 1])[0, 1] > 0.9
    assert abs(np.corrcoef(added, given.matrix[:, 0])[0, 1]) < 0.1
    assert train(given) == (trees, columns)


def test_trees_that_do_not_help_are_left_out() -> None:
    assert parse_trees(train(cases(luck_counts=False))[0]) == []


def test_without_the_response_model_trees_stand_alone() -> None:
    given = cases(luck_counts=True)
    alone = Cases(given.matrix[:, 1:], given.grade, given.group, given.chance)
    assert base_of(COLUMNS) == "response"
    assert base_of(COLUMNS[1:]) == ""
    assert len(parse_trees(train(alone, COLUMNS[1:])[0])) == TRAINING.trees


@pytest.mark.parametrize("luck_counts", [False, True])
def test_columns_of_pairs_stay_where_they_help(luck_counts: bool) -> None:
    columns = [COLUMNS[0], Column("A", "topic_lift"), Column("A", "knn")]
    given = cases(luck_counts=luck_counts)
    random = np.random.default_rng(2).normal(size=(4000, 1)).astype(np.float32)
    matrix = np.hstack([given.matrix[:, :1], random, given.matrix[:, 1:]])
    trees, used = train_on_shown(replace(given, matrix=matrix), columns, TRAINING, lambda _done, _total: None)
    assert used == (columns if luck_counts else columns[1:2])
    assert as_booster(trees).num_trees() == 0 or as_booster(trees).num_feature() == len(used)


@pytest.mark.parametrize("luck_counts", [False, True])
def test_a_saved_model_scores_base_and_trees(luck_counts: bool, tmp_path: Path) -> None:
    history = network()
    trees, columns = train(cases(luck_counts=luck_counts))
    model = Model(trees, tuple(columns), history.vocabularies, history.encoder, 0, 400, 4000, base="response")
    loaded = load_model(save_model(model, tmp_path))
    assert loaded == model
    view, users = View(history, 100 * HOUR_S), np.arange(N_USERS)
    base = response(view, users).astype(np.float64)
    luck = np.repeat(np.asarray(history.tables.users.profile["luck"], dtype=np.float32), base.shape[1])
    added = np.asarray(as_booster(trees).predict(luck[:, None], raw_score=True))
    assert luck_counts == bool(added.any())
    expected = base + added.reshape(base.shape)
    np.testing.assert_allclose(SeparableScorer(loaded, view, [100]).pair_scores(users), expected, atol=1e-12)
