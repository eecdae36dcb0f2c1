"""The neural recommender learns what there is to learn, the same every time, and knows no more than it may."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extras import needs
from small_world import make_history, make_tables

from batch.candidates import retrievers
from batch.errors import BatchError
from batch.evaluate import summarise
from batch.features.matrix import gather
from batch.features.view import History, View
from batch.model import Model, load_model, save_model
from batch.neural.inputs import post_columns, post_side
from batch.neural.network import tower, tower_inputs, vectors
from batch.neural.scorer import NeuralScorer, match
from batch.neural.train import import_torch
from batch.pipeline import train_model, with_network
from batch.rank import make_scorer
from batch.replay import Window, replay
from batch.scorer import SeparableScorer
from batch.settings import BatchSettings
from batch.tables import HOUR_S, Tables
from batch.text.tfidf import fit_tfidf
from batch.train import as_booster

torch = needs("torch")

N_USERS, N_POSTS, AS_OF_H = 30, 60, 200
WORDS = ["sun rain cloud storm wind", "goal match team ball league", "vote law party court state"]
SETTINGS = BatchSettings(ranker="neural", train_groups=600, train_days=8, train_negatives=20, hours=4, trees=8)


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, done: int, total: int | None) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def make_world(last_h: float = AS_OF_H, seed: int = 3) -> Tables:
    """Post p appears at hour 3 p and is soon touched, mostly by users of its subject: u % 3 == p % 3."""
    random = np.random.default_rng(seed)
    events = []
    for _ in range(2500):
        user, post = int(random.integers(N_USERS)), int(random.integers(N_POSTS))
        if post % 3 == user % 3 or random.random() < 0.1:
            events.append((3.0 * post + random.exponential(8.0), user, post, "view"))
    return make_tables(
        [event for event in events if event[0] < last_h],
        n_users=N_USERS,
        n_posts=N_POSTS,
        as_of_h=AS_OF_H,
        born_h=[3.0 * post for post in range(N_POSTS)],
        text=[f"{WORDS[post % 3]} number{post % 7}" for post in range(N_POSTS)],
    )


def history_of(tables: Tables) -> History:
    return make_history(tables, fit_tfidf(tables.posts.text.tolist(), seed=0))


def train(history: History, settings: BatchSettings = SETTINGS, as_of_h: int = 150) -> Model:
    model = train_model(settings, history, as_of_h * HOUR_S, HOUR_S, Silent())
    assert model is not None
    assert model.network is not None
    return model


@pytest.fixture(scope="module")
def history() -> History:
    return history_of(make_world())


@pytest.fixture(scope="module")
def model(history: History) -> Model:
    return train(history)


def test_posts_that_did_not_exist_at_training_are_ranked_by_whom_they_are_for(history: History, model: Model) -> None:
    assert model.network is not None
    view = View(history, 180 * HOUR_S)
    view.pool = np.array([51, 52, 53, 54, 55, 56, 57, 58, 59])  # of hours 153 to 177: none existed at hour 150
    pair = match(model.network, view, np.arange(N_USERS))
    own = np.arange(N_USERS)[:, None] % 3 == view.pool[None, :] % 3
    best = np.argsort(-pair, axis=1)[:, :3]
    assert np.take_along_axis(own, best, axis=1).mean() > 0.6  # a third by chance


def test_the_hour_prefers_what_is_fresh(history: History, model: Model) -> None:
    assert model.network is not None
    scorer = NeuralScorer(model.network, View(history, 150 * HOUR_S, np.array([5, 48])), range(150, 152))
    assert (scorer.hour_scores[1] > scorer.hour_scores[0]).all()


def test_the_same_cases_give_the_same_bytes_and_another_seed_gives_others(history: History, model: Model) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
    assert train(history).digest == model.digest
    assert before[:2] == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    assert torch.equal(before[2], torch.random.get_rng_state())
    assert train(history, SETTINGS.model_copy(update={"seed": 1})).digest != model.digest


def test_nothing_after_the_moment_is_known(history: History, model: Model) -> None:
    tables = history.tables
    events = tables.events
    later = events.at_s >= 150 * HOUR_S
    changed = replace(events, user=np.where(later, (events.user + 1) % N_USERS, events.user).astype(np.int32))
    other = history_of(replace(tables, events=changed))
    assert (other.tables.events.user != events.user).any()
    assert train(other).digest == model.digest
    users, buckets = np.arange(N_USERS), range(150, 154)
    one, same = (make_scorer("neural", model, View(h, 150 * HOUR_S), buckets) for h in (history, other))
    np.testing.assert_array_equal(one.pair_scores(users), same.pair_scores(users))
    np.testing.assert_array_equal(one.hour_scores, same.hour_scores)


def test_numpy_and_pytorch_compute_the_same_vectors(history: History, model: Model) -> None:
    network = model.network
    assert network is not None
    inputs = post_side(View(history, 150 * HOUR_S), post_columns(network.columns), np.arange(40))
    weights = {name: torch.from_numpy(array) for name, array in network.weights.items()}
    into = torch.from_numpy(tower_inputs(network.knots["post"], inputs))
    crowd, text = torch.from_numpy(inputs.crowd), torch.from_numpy(inputs.text)
    expected = torch.cat(tower(weights, "post", into, crowd, text, torch.matmul), dim=1).numpy()
    np.testing.assert_allclose(vectors(network, "post", inputs), expected, rtol=1e-4, atol=1e-5)


def test_a_users_scores_do_not_depend_on_who_is_asked_for_beside(history: History, model: Model) -> None:
    scorer = make_scorer("neural", model, View(history, 150 * HOUR_S), range(150, 152))
    together = scorer.pair_scores(np.arange(N_USERS))
    alone = np.concatenate([scorer.pair_scores(np.array([user])) for user in range(N_USERS)])
    np.testing.assert_array_equal(together, alone)


def test_a_saved_network_reads_back_the_same(history: History, model: Model, tmp_path: Path) -> None:
    read = load_model(save_model(model, tmp_path))
    assert read.digest == model.digest
    assert (read.trees, read.columns) == ("", ())
    view = View(history, 150 * HOUR_S)
    users = np.arange(N_USERS)
    one, same = (make_scorer("neural", m, view, range(150, 152)) for m in (model, read))
    np.testing.assert_array_equal(one.pair_scores(users), same.pair_scores(users))


def test_a_saved_network_that_lacks_weights_is_refused(model: Model, tmp_path: Path) -> None:
    assert model.network is not None
    weights = {name: array for name, array in model.network.weights.items() if name != "hour.mid"}
    path = save_model(replace(model, network=replace(model.network, weights=weights)), tmp_path)
    with pytest.raises(BatchError, match=r"is not a model.*hour\.mid"):
        load_model(path)


def test_as_a_feature_it_answers_to_trees_that_came_after_it(history: History) -> None:
    settings = SETTINGS.model_copy(update={"ranker": "lightgbm", "neural_feature": True, "train_days": 2})
    model = train(history, settings)
    assert ("A", "neural") in [(column.part, column.name) for column in model.columns]
    # The trees' cases are of the last two days, so nothing of these days was known to the network.
    older = train(history, SETTINGS.model_copy(update={"train_days": 2}), as_of_h=150 - 48)
    assert older.network is not None
    assert model.network is not None
    for name, array in older.network.weights.items():
        np.testing.assert_array_equal(model.network.weights[name], array)
    view, users, buckets = View(history, 150 * HOUR_S), np.arange(N_USERS), range(150, 152)
    scorer = make_scorer("lightgbm", model, view, buckets)
    assert isinstance(scorer, SeparableScorer)
    cells = np.indices((N_USERS, len(view.pool))).reshape(2, -1)
    rows = gather(view, list(model.columns), cells[0], cells[1], np.full(cells.shape[1], 151))
    got = scorer.pair_scores(users) + scorer.hour_scores[:, 1]
    np.testing.assert_allclose(got.ravel(), np.asarray(as_booster(model.trees).predict(rows, raw_score=True)))


def test_as_a_retriever_it_brings_what_active_users_would_be_shown(history: History, model: Model) -> None:
    view = View(with_network(history, model), 150 * HOUR_S)
    found = retrievers(view)["neural"]
    assert np.isneginf(found[~view.exists]).all()
    assert found[45:50].mean() > found[:5].mean()  # the newest above the oldest
    assert "neural" not in retrievers(View(history, 150 * HOUR_S))


def test_the_replay_takes_it_beside_a_baseline(history: History) -> None:
    window = Window(150 * HOUR_S, 153 * HOUR_S, HOUR_S, 24 * HOUR_S)
    result = replay(SETTINGS, history.tables, window, ["neural", "newest"], ["view"], 5, Silent())
    assert len(result.cases)
    assert (result.top["neural"] >= 0).all()
    assert (result.top["neural"] != result.top["newest"]).any()
    assert summarise(result, 5)["models"]["neural"]["feature_gain"] == {}  # it has no trees


def test_a_log_that_is_too_short_gives_no_network() -> None:
    report = Silent()
    history = history_of(make_world(last_h=6))
    assert train_model(SETTINGS, history, 6 * HOUR_S, HOUR_S, report) is None
    assert "too short" in report.notes[0]


def test_without_pytorch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BatchError, match=r"hourfeed\[neural\]"):
        import_torch()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("user.out", lambda array: array[:, :-1]),
        ("user.in_bias", lambda array: array[:-1]),
        ("post.out_bias", lambda array: array[:, None]),
        ("crowd", lambda array: array.ravel()),
        ("hour.in", lambda array: array[:-1]),
        ("hour.mid", lambda array: array.T.copy()),
        ("hour.out", lambda array: np.hstack([array, array])),
        ("hour.mid_bias", lambda array: array.astype(np.float64)),
    ],
)
def test_a_saved_network_whose_weights_do_not_fit_each_other_is_refused(
    model: Model, tmp_path: Path, name: str, change: Callable[[Any], Any]
) -> None:
    assert model.network is not None
    weights = {**model.network.weights, name: change(model.network.weights[name])}
    path = save_model(replace(model, network=replace(model.network, weights=weights)), tmp_path)
    with pytest.raises(BatchError, match=r"is not a model.*weights"):
        load_model(path)


def test_a_network_for_other_inputs_is_refused_when_it_is_asked(history: History, model: Model) -> None:
    assert model.network is not None
    weights = {**model.network.weights, "post.in": model.network.weights["post.in"][:-3]}
    view = View(history, 150 * HOUR_S)
    with pytest.raises(BatchError, match=r"weights for .* inputs, and there are"):
        match(replace(model.network, weights=weights), view, np.arange(2))
