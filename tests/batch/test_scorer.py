"""The scorer gives LightGBM's own answer, whatever the trees and the values."""

from dataclasses import replace
from typing import Literal

import lightgbm as lgb
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import make_history, make_tables, random_events

from batch.cases import Cases
from batch.errors import BatchError
from batch.features.matrix import Column, gather, model_columns
from batch.features.registry import Part
from batch.features.view import History, View
from batch.model import Model
from batch.scorer import SeparableScorer
from batch.tables import HOUR_S
from batch.text.tfidf import fit_tfidf
from batch.train import Training, as_booster, train_trees
from batch.trees import parse_trees

N_USERS, N_POSTS = 12, 30
BUCKETS = range(200, 206)
PARTS: tuple[Part, ...] = ("A", "B", "C")


def make_world(seed: int) -> History:
    words = ["sun rain cloud", "goal match team", "vote law party"]
    text = [f"{words[post % 3]} number{post % 5} {words[post % 3]}" for post in range(N_POSTS)]
    ages = np.where(np.arange(N_USERS) % 4 == 0, np.nan, 20.0 + np.arange(N_USERS))
    country = np.array(["AT", "BR", "", "AT"] * 3, dtype=object)
    tables = make_tables(
        random_events(1500, N_USERS, N_POSTS, last_h=199, seed=seed),
        n_users=N_USERS,
        n_posts=N_POSTS,
        as_of_h=200,
        topic=["a", "b", ""] * 10,
        text=text,
        author=["10", "x", ""] * 10,
        profile={"age": ages, "country": country},
    )
    return make_history(tables, fit_tfidf(text, seed=0))


def train(history: History, seed: int, leaves: int = 31, trees: int = 30) -> tuple[View, Model]:
    view = View(history, 200 * HOUR_S)
    columns = model_columns(view)
    random = np.random.default_rng(seed)
    user = random.integers(0, N_USERS, 4000)
    place = random.integers(0, N_POSTS, 4000)
    bucket = random.choice(np.array(BUCKETS), 4000)
    matrix = gather(view, columns, user, place, bucket)
    grade = ((place % 3 == user % 3) & (random.random(4000) < 0.6)).astype(np.int32) + (bucket % 2 == place % 2)
    cases = Cases(matrix, grade.astype(np.int32), np.full(100, 40), np.ones(4000))
    text, _ = train_trees(cases, columns, Training(trees, leaves, 0.3, seed), lambda _done, _total: None)
    return view, Model(text, tuple(columns), history.vocabularies, history.encoder, view.tau_s, 100, 4000)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), leaves=st.sampled_from([2, 7, 31, 32]))
def test_scores_equal_those_of_the_booster(seed: int, leaves: int) -> None:
    view, model = train(make_world(seed), seed, leaves)
    view = View(view.history, view.tau_s, pool=np.random.default_rng(seed).permutation(N_POSTS)[:23])
    scorer = SeparableScorer(model, view, BUCKETS)
    users = np.arange(1, N_USERS)
    pair, topic = scorer.pair_scores(users), scorer.topic_scores(users)
    booster = as_booster(model.trees)
    for hour, bucket in enumerate(BUCKETS):
        cells = np.indices((len(users), len(view.pool))).reshape(2, -1)
        rows = gather(view, list(model.columns), users[cells[0]], cells[1], np.full(cells.shape[1], bucket))
        expected = np.asarray(booster.predict(rows, raw_score=True))
        topics = view.history.topic[view.pool]
        got = (pair + topic[:, topics, hour]) + scorer.hour_scores[None, :, hour]
        np.testing.assert_allclose(got.ravel(), expected, rtol=1e-9, atol=1e-12)


def test_trees_use_all_three_parts_and_stay_within_one_each() -> None:
    _, model = train(make_world(1), 1, trees=60)
    parts = [{model.columns[feature].part for feature in tree.feature} for tree in parse_trees(model.trees)]
    assert all(len(used) <= 1 for used in parts)
    assert set().union(*parts) == {"A", "B", "C"}


def test_a_model_whose_trees_mix_the_parts_is_refused() -> None:
    view, model = train(make_world(2), 2)
    columns = tuple(Column(PARTS[at % 3], column.name) for at, column in enumerate(model.columns))
    with pytest.raises(BatchError, match="mixes the parts"):
        SeparableScorer(replace(model, columns=columns), view, BUCKETS)


def test_broken_trees_are_refused() -> None:
    _, model = train(make_world(3), 3, trees=2)
    with pytest.raises(BatchError, match="cannot be read"):
        parse_trees(model.trees.replace("threshold=", "treshold="))


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"linear_tree": True}, "linear"),
        ({"zero_as_missing": True}, "zero as missing"),
        ({"num_leaves": 60, "min_data_in_leaf": 1}, "at most 32"),
        ({}, "category"),
    ],
)
def test_trees_that_cannot_be_reproduced_are_refused(parameters: dict[str, object], reason: str) -> None:
    random = np.random.default_rng(0)
    matrix = random.integers(0, 12, (900, 2)).astype(np.float64)
    target = (matrix[:, 0] % 3 == 0) * 3.0 + matrix[:, 1] * 0.1
    categorical: list[int] | Literal["auto"] = [0] if reason == "category" else "auto"
    booster = lgb.train(
        {"objective": "regression", "verbosity": -1, "min_data_per_group": 1, "max_cat_to_onehot": 50, **parameters},
        lgb.Dataset(matrix, target, categorical_feature=categorical, params={"verbosity": -1, **parameters}),
        3,
    )
    with pytest.raises(BatchError, match=reason):
        parse_trees(booster.model_to_string())


def test_scores_are_the_same_bit_for_bit_whatever_the_chunks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    view, model = train(make_world(4), 4)
    users, threads = np.arange(N_USERS), numba.get_num_threads()
    numba.set_num_threads(1)
    whole = SeparableScorer(model, view, BUCKETS).pair_scores(users)
    numba.set_num_threads(threads)
    monkeypatch.setattr("batch.scorer._BLOCK_CELLS", 5 * N_POSTS)  # blocks of five users, the last one of two
    np.testing.assert_array_equal(SeparableScorer(model, view, BUCKETS).pair_scores(users), whole)
    for user in users:
        alone = SeparableScorer(model, view, BUCKETS).pair_scores(np.array([user]))
        np.testing.assert_array_equal(alone[0], whole[user])
