"""The gate holds out the latest days, compares on the same cases, and keeps its verdict for as long as it may."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_world import Event, make_tables

from batch import gate
from batch.features.view import History
from batch.features.vocabulary import Vocabularies
from batch.gate import BASELINES, Verdict, compare, judge, positive_actions
from batch.model import Model
from batch.replay import Period, Shown, prepare_and_replay
from batch.settings import BatchSettings
from batch.tables import HOUR_S, Events, Tables

N_USERS, N_POSTS, AS_OF_H = 30, 300, 240.0


TRAINED = "lightgbm"
MODEL = Model("", (), Vocabularies({}), None, 0, 0, 0)


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, done: int, total: int | None) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def tables_of(events: list[Event]) -> Tables:
    """Return a log of posts of six topics, one new every 48 minutes."""
    topic, born_h = [f"t{post % 6}" for post in range(N_POSTS)], [0.8 * post for post in range(N_POSTS)]
    return make_tables(events, n_users=N_USERS, n_posts=N_POSTS, as_of_h=AS_OF_H, topic=topic, born_h=born_h)


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Return a log in which users touch the fresh posts of one topic: popularity alone cannot tell which."""
    random = np.random.default_rng(1)
    touches = [
        (0.8 * post + random.uniform(1, 9), user, post, "view")
        for post in range(N_POSTS)
        for user in range(post % 6, N_USERS, 6)
        if random.random() < 0.9
    ]
    return tables_of([(0.0, 0, 0, "view"), *(touch for touch in touches if touch[0] < AS_OF_H)])


@pytest.fixture
def settings(tmp_path: Path) -> BatchSettings:
    return BatchSettings(
        state=tmp_path, hours=24, trees=20, train_groups=300, train_negatives=10, gate_days=2, acted_on=()
    )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Let rankers hit as often as the test says (ranker → share of the cases), and count the replays.

    Where the entry "untrained" is 1, there was too little to train on.
    """
    rates: dict[str, float] = {"replays": 0}

    def replay_period(tables: Tables, period: Period, report: object) -> Shown:
        top = {}
        for ranker in period.rankers:
            top[ranker] = np.full((len(period.cases), period.k), -1, dtype=np.int32)
            n_hits = round(rates.get(ranker, 0.0) * len(period.cases))
            for case in range(n_hits):
                top[ranker][case, 2] = period.cases.posts[case][0]
        rates["replays"] += 1
        return Shown(top, {}, {TRAINED: None if rates.get("untrained") else MODEL})

    monkeypatch.setattr(gate, "replay_period", replay_period)
    return rates


def compared(settings: BatchSettings, tables: Tables) -> Verdict:
    verdict = compare(settings, tables, HOUR_S, Silent())
    assert verdict is not None
    return verdict


def test_the_trained_ranker_is_chosen_where_it_has_learned_what_popularity_cannot(
    settings: BatchSettings, tables: Tables
) -> None:
    verdict = compared(settings, tables)
    assert (verdict.chosen, verdict.baseline in BASELINES) == (TRAINED, True)
    assert verdict.trained > verdict.of_baseline
    assert verdict.interval_95 is not None
    assert verdict.as_of_s - verdict.begin_s == 2 * 24 * HOUR_S
    assert verdict.users <= N_USERS < verdict.cases


def test_a_baseline_is_chosen_only_where_it_hits_more_often(
    settings: BatchSettings, tables: Tables, shown: dict[str, float]
) -> None:
    shown.update({TRAINED: 0.5, "popular_6h": 0.5, "popular_24h": 0.4})
    verdict = compared(settings, tables)
    assert (verdict.chosen, verdict.baseline, verdict.difference) == (TRAINED, "popular_6h", 0.0)
    shown["item_knn_recency"] = 0.6
    verdict = compared(settings, tables)
    assert (verdict.chosen, verdict.baseline) == ("item_knn_recency", "item_knn_recency")
    assert verdict.of_baseline == pytest.approx(0.6, abs=0.01)
    assert verdict.difference == pytest.approx(verdict.trained - verdict.of_baseline) == pytest.approx(-0.1, abs=0.01)
    assert verdict.interval_95 is not None
    assert 0 < verdict.interval_95 < 0.1


def test_nothing_of_the_held_out_days_is_trained_on(settings: BatchSettings, tables: Tables) -> None:
    held_out = tables.events.at_s >= int(AS_OF_H - 48) * HOUR_S
    other = np.where(held_out, (tables.events.post + 1) % N_POSTS, tables.events.post).astype(np.int32)
    changed = replace(tables, events=Events(tables.events.at_s, tables.events.user, other, tables.events.action))
    models = []
    for these in (tables, changed):
        period = period_of(settings, these)
        assert period.as_of_s == int(AS_OF_H - 48) * HOUR_S
        models.append(prepare_and_replay(these, period, Silent()).models[TRAINED])
    assert models[0] is not None
    assert models[1] is not None
    assert models[0].digest == models[1].digest


def period_of(settings: BatchSettings, tables: Tables) -> Period:
    """Return the period that a comparison replays."""
    periods: list[Period] = []

    def note(_history: History, period: Period, _report: object) -> Shown:
        periods.append(period)
        return Shown({}, {}, {TRAINED: None})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "replay_period", note)
        assert compare(settings, tables, HOUR_S, Silent()) is None
    return periods[0]


def test_of_a_short_log_a_fifth_is_held_out(settings: BatchSettings, tables: Tables) -> None:
    assert period_of(settings.model_copy(update={"gate_days": 9}), tables).as_of_s == int(AS_OF_H - 48) * HOUR_S
    assert period_of(settings.model_copy(update={"gate_days": 1}), tables).as_of_s == int(AS_OF_H - 24) * HOUR_S


def test_refreshes_and_cases_are_bounded(
    settings: BatchSettings, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = period_of(settings, tables).cases
    assert len(np.unique(whole.tau_s)) > 20
    monkeypatch.setattr(gate, "_EVENTS_LOOKED_THROUGH", 0)
    monkeypatch.setattr(gate, "_FEWEST_CASES", 10)
    fewer = period_of(settings, tables).cases
    assert len(np.unique(fewer.tau_s)) == 6
    monkeypatch.setattr(gate, "_MOST_CASES", 15)
    fewest = period_of(settings, tables).cases
    assert len(fewest) == 15
    again = period_of(settings, tables).cases
    assert fewest.at_s.tolist() == again.at_s.tolist()


def test_there_is_no_verdict_on_too_little(
    settings: BatchSettings, tables: Tables, shown: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Silent()
    shown["untrained"] = 1
    assert judge(settings, tables, HOUR_S, report) is None
    assert not (settings.state / "gate.json").exists()
    assert "passed over" in report.notes[0]
    shown["untrained"] = 0
    monkeypatch.setattr(gate, "_FEWEST_CASES", 10_000)
    assert judge(settings, tables, HOUR_S, report) is None
    assert judge(settings, tables_of([]), HOUR_S, report) is None
    assert shown["replays"] == 1


def test_a_verdict_holds_while_it_is_young_and_nothing_has_changed(
    settings: BatchSettings, tables: Tables, shown: dict[str, float]
) -> None:
    shown[TRAINED] = 0.5
    report = Silent()
    first = judge(settings, tables, HOUR_S, report)
    shown[TRAINED] = 0.25

    def replays(settings: BatchSettings, tables: Tables) -> float:
        before = shown["replays"]
        judge(settings, tables, HOUR_S, report)
        return shown["replays"] - before

    later = replace(tables, as_of_s=tables.as_of_s + 19 * HOUR_S)
    assert judge(settings, later, HOUR_S, report) == first
    assert report.notes[1] == report.notes[0]
    assert replays(settings, replace(tables, as_of_s=tables.as_of_s - HOUR_S)) == 1  # that would be a look ahead
    assert replays(settings, tables) == 0
    assert replays(settings.model_copy(update={"trees": 21}), tables) == 1
    assert replays(settings, tables) == 1
    assert replays(settings, replace(tables, as_of_s=tables.as_of_s + 24 * HOUR_S)) == 1
    other_log = replace(tables, events=replace(tables.events, at_s=tables.events.at_s + 1))
    assert replays(settings, other_log) == 1
    (settings.state / "gate.json").write_text('{"verdict": {"mood": "fine"}}')
    assert replays(settings, tables) == 1


def test_where_views_mean_shown_alone_they_are_no_hits() -> None:
    tables = tables_of([])
    assert positive_actions(tables) == ["view", "like"]
    assert positive_actions(replace(tables, relevance=np.array([0, 2]))) == ["like"]


def test_the_manifest_holds_a_verdict_in_words() -> None:
    verdict = Verdict(TRAINED, 0.61234, "popular_6h", 0.5, 0.11234, None, 300, 200, 0, 3 * 24 * HOUR_S)
    assert verdict.as_told() == {
        "chosen": "lightgbm",
        "trained": 0.6123,
        "baseline": "popular_6h",
        "of_baseline": 0.5,
        "difference": 0.1123,
        "interval_95": None,
        "cases": 300,
        "users": 200,
        "begin": "1970-01-01T00:00:00Z",
        "as_of": "1970-01-04T00:00:00Z",
    }
