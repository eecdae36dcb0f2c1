"""Reasons are those of the run: the scores are what the scorer gives, and what features give adds up to them."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch import why
from batch.features.matrix import gather, model_columns
from batch.features.view import View
from batch.model import Model
from batch.rank import make_scorer
from batch.train import Training, as_booster, feature_names, tree_parameters
from batch.why import reasons_of

BUCKET = 100


@pytest.fixture(scope="module")
def view() -> View:
    topics = ["a", "b", "c"] * 10
    tables = make_tables(random_events(900, 40, 30, 99), n_users=40, n_posts=30, topic=topics)
    return View(make_history(tables), 100 * 3600)


@pytest.fixture(scope="module")
def model(view: View) -> Model:
    import lightgbm as lgb

    columns = model_columns(view)
    users, places = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
    matrix = gather(view, columns, users, places, np.full(1200, BUCKET))
    label = (users % 3 == places % 3).astype(float)
    dataset = lgb.Dataset(matrix, label=label, feature_name=feature_names(columns), params={"verbosity": -1})
    parameters = {**tree_parameters(columns, Training(20, 8, 0.1, 0)), "objective": "regression", "min_data_in_leaf": 5}
    trees = lgb.train(parameters, dataset, 20).model_to_string()
    return Model(trees, tuple(columns), view.history.vocabularies, None, 100 * 3600, 1, 2)


def test_what_features_give_adds_up_to_the_score(view: View, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "MOST", 10_000)
    scorer = make_scorer("lightgbm", model, view, [BUCKET])
    places = np.array([3, 7, 29])
    reasons = reasons_of(view, scorer, model, 5, BUCKET, places)
    matrix = gather(view, list(model.columns), np.full(3, 5), places, np.full(3, BUCKET)).astype(np.float64)
    booster = as_booster(model.trees)
    expected = np.asarray(booster.predict(matrix, pred_contrib=True))[:, -1]
    for reason, whole, start in zip(reasons, np.asarray(booster.predict(matrix)), expected, strict=True):
        assert reason.score == pytest.approx(whole)
        assert reason.of_pair + reason.of_topic + reason.of_hour == pytest.approx(reason.score)
        assert start + sum(given.adds for given in reason.largest) == pytest.approx(whole)
        names = [given.feature for given in reason.largest]
        assert len(set(names)) == len(names)
        sizes = [abs(given.adds) for given in reason.largest]
        assert sizes == sorted(sizes, reverse=True)
    assert [reason.post_id for reason in reasons] == ["103", "107", "129"]


def test_a_ranker_without_trees_has_a_score_and_a_retriever_alone(view: View) -> None:
    scorer = make_scorer("popular_24h", None, view, [BUCKET])
    best = int(np.argmax(view.touches(24)))
    (reason,) = reasons_of(view, scorer, None, 0, BUCKET, np.array([best]))
    assert reason.largest == []
    assert reason.score == reason.of_hour > 0
    assert reason.place >= 1
    most = int(np.argmax(view.touches_all))
    (popular,) = reasons_of(view, scorer, None, 0, BUCKET, np.array([most]))
    assert popular.place == 1


def test_a_base_that_the_trees_add_to_is_a_feature_too(view: View, model: Model) -> None:
    base = next(c.name for c in model.columns if c.axes == "user×post")
    with_base = replace(model, base=base)
    scorer = make_scorer("lightgbm", with_base, view, [BUCKET])
    without = reasons_of(view, make_scorer("lightgbm", model, view, [BUCKET]), model, 5, BUCKET, np.array([3]))
    found = reasons_of(view, scorer, with_base, 5, BUCKET, np.array([3]))
    assert found[0].score - without[0].score == pytest.approx(found[0].of_pair - without[0].of_pair)
