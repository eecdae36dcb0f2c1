"""The replay sees only the past at every refresh, and its cases are those that the checker would ask for."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.evaluate import calibration, feature_gain, summarise, summarise_interval
from batch.features.view import View
from batch.offered import best_offered, offered_posts
from batch.pipeline import acted_on_at, prepare_history, view_at
from batch.rank import make_scorer
from batch.replay import (
    LAG_BLIND,
    ReplayCases,
    ReplayResult,
    Window,
    default_positive,
    find_cases,
    find_late_cases,
    replay,
)
from batch.replay_scores import Remembering
from batch.settings import BatchSettings
from batch.tables import HOUR_S, Events
from demo.parameters import Parameters
from demo.simulate import simulate
from source.engine import open_engine
from source.schema import SourceSchema

ROOT = Path(__file__).parent.parent.parent
WINDOW = Window(90 * HOUR_S, 100 * HOUR_S, HOUR_S, 24 * HOUR_S)


class _Silent:
    def stage(self, name: str, done: int, total: int | None) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def cases_of(events: list[tuple[float, int, int, str]], window: Window = WINDOW, **more: object) -> ReplayCases:
    return find_cases(make_history(make_tables(events, **more)), window, ["view", "like"])  # type: ignore[arg-type]


def told(cases: ReplayCases) -> list[tuple[int, float, float, list[int], int]]:
    rows = zip(cases.user, cases.at_s / HOUR_S, cases.tau_s / HOUR_S, cases.posts, cases.n_before, strict=True)
    return [(int(user), at, tau, posts.tolist(), int(before)) for user, at, tau, posts, before in rows]


def test_a_case_is_a_user_and_an_hour_with_all_its_first_touches() -> None:
    events = [
        (80.0, 0, 0, "view"),
        (91.2, 0, 1, "view"),
        (91.5, 0, 2, "like"),
        (91.6, 1, 0, "view"),
        (92.1, 0, 3, "view"),
    ]
    assert told(cases_of(events)) == [
        (0, 91.2, 91.0, [1, 2], 1),
        (1, 91.6, 91.0, [0], 0),
        (0, 92.1, 92.0, [3], 3),
    ]


def test_touched_before_new_since_the_refresh_and_outside_the_window_are_no_cases() -> None:
    events = [(80.0, 0, 0, "view"), (91.2, 0, 0, "like"), (91.5, 1, 1, "view"), (101.0, 1, 2, "view")]
    assert told(cases_of(events, born_h=[0, 91.2, 0, 0])) == []
    assert told(cases_of(events, born_h=[0, 90.9, 0, 0])) == [(1, 91.5, 91.0, [1], 0)]
    assert told(cases_of(events, born_h=[0, 90.9, 0, 0], hidden=[False, True, False, False])) == []


def test_only_positive_actions_make_a_case_but_any_touch_spoils_it() -> None:
    events = [(91.2, 0, 1, "view"), (91.3, 0, 1, "like"), (91.4, 1, 1, "like")]
    history = make_history(make_tables(events))
    assert told(find_cases(history, WINDOW, ["like"])) == [(1, 91.4, 91.0, [1], 0)]


def test_where_it_is_known_what_was_shown_a_response_is_a_case_unless_it_was_shown_before_the_refresh() -> None:
    events = [(80.0, 0, 0, "view"), (91.1, 0, 0, "like"), (91.2, 0, 1, "view"), (91.3, 0, 1, "like")]
    again = [(91.4, 0, 1, "view"), (91.5, 0, 1, "like"), (91.6, 1, 2, "view")]
    history = make_history(replace(make_tables([*events, *again]), relevance=np.array([0, 1])))
    assert told(find_cases(history, WINDOW, ["like"])) == [(0, 91.3, 91.0, [1], 1)]
    assert default_positive(history.tables, ["view", "like"]) == ["like"]
    assert default_positive(make_tables(events), ["view", "like"]) == ["view", "like"]


def test_where_it_is_known_what_was_shown_rankers_order_that() -> None:
    # Before 91: post 2 shown three times, post 1 twice, post 0 once, post 3 never. Then user 0 is shown 3, 1 and 0.
    before = [
        (80.0 + user, user, post, "view") for post, users in ((2, 3), (1, 2), (0, 1)) for user in range(1, 1 + users)
    ]
    after = [(91.1, 0, 3, "view"), (91.2, 0, 1, "view"), (91.3, 0, 0, "view"), (92.1, 0, 2, "view")]
    history = make_history(replace(make_tables([*before, *after], n_users=4), relevance=np.array([0, 1])))
    view, users = View(history, 91 * HOUR_S), np.array([0, 1])
    offered = offered_posts(history, view, users, range(91, 93))
    assert offered.tolist() == [[[0, 1, 3], [2, -1, -1]], [[-1, -1, -1], [-1, -1, -1]]]
    scorer = Remembering(make_scorer("popular_all", None, view, range(91, 93)))
    assert best_offered(scorer, view, users, offered, 2).tolist() == [[[1, 0], [2, -1]], [[-1, -1], [-1, -1]]]
    assert best_offered(scorer, view, users, offered, 4)[0, 0].tolist() == [1, 0, 3, -1]


def test_with_longer_intervals_the_refresh_is_the_last_one_before_the_touch() -> None:
    daily = Window(72 * HOUR_S, 120 * HOUR_S, 24 * HOUR_S, 24 * HOUR_S)
    assert [case[2] for case in told(cases_of([(95.9, 0, 1, "view"), (96.0, 0, 2, "view")], daily))] == [72.0, 96.0]
    quick = Window(90 * HOUR_S, 100 * HOUR_S, 600, 24 * HOUR_S)
    assert told(cases_of([(91.49, 0, 1, "view")], quick))[0][2] == pytest.approx(91 + 2 / 6)


def test_touches_of_posts_that_no_refresh_knew_are_late_cases_and_the_same_in_all_with_the_others() -> None:
    events = [
        (91.2, 0, 1, "view"),  # published at 90.5: there at every refresh but the daily one
        (91.3, 0, 2, "view"),  # published at 91.1, in the same hour of the same user: no second case
        (92.6, 1, 2, "like"),
        (92.7, 2, 3, "view"),  # published at 92.5: there at 92.67 alone
    ]
    history = make_history(make_tables(events, born_h=[0, 90.5, 91.1, 92.5]))
    for every_s, n_late in ((600, 0), (HOUR_S, 1), (24 * HOUR_S, 3)):
        window = Window(90 * HOUR_S, 100 * HOUR_S, every_s, 24 * HOUR_S)
        cases, late = (find(history, window, ["view", "like"]) for find in (find_cases, find_late_cases))
        assert len(late) == n_late
        assert [posts.tolist() for posts in late.posts] == [[]] * n_late
        both = zip([*cases.user, *late.user], [*cases.at_s // HOUR_S, *late.at_s // HOUR_S], strict=True)
        assert sorted(both) == [(0, 91), (1, 92), (2, 92)]


SETTINGS = BatchSettings(hours=4, trees=10, train_groups=200, train_negatives=10)


def result_of(
    events: list[tuple[float, int, int, str]],
    tables_after: int | None = None,
    rankers: tuple[str, ...] = ("lightgbm", "popular_24h"),
    workers: int = 1,
    n_users: int = 12,
) -> ReplayResult:
    tables = make_tables(events, n_users=n_users, n_posts=20, as_of_h=140, topic=["a", "b"] * 10)
    if tables_after is not None:  # everything from then on becomes something else
        later = tables.events.at_s >= tables_after * HOUR_S
        post = np.where(later, (tables.events.post + 7) % 20, tables.events.post).astype(np.int32)
        tables = replace(tables, events=Events(tables.events.at_s, tables.events.user, post, tables.events.action))
    window = Window(100 * HOUR_S, 130 * HOUR_S, 4 * HOUR_S, 12 * HOUR_S)
    return replay(SETTINGS, tables, window, rankers, ["view", "like"], 5, _Silent(), workers=workers)


def test_any_number_of_workers_shows_the_same() -> None:
    events = random_events(1200, 12, 20, last_h=140, seed=4)
    one, two = result_of(events), result_of(events, workers=2)
    for ranker in ("lightgbm", "popular_24h"):
        np.testing.assert_array_equal(one.top[ranker], two.top[ranker])
    np.testing.assert_array_equal(one.scores["lightgbm"], two.scores["lightgbm"])
    digests = [[model.digest for model in result.models["lightgbm"]] for result in (one, two)]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 3


def test_scores_are_those_of_the_posts_shown() -> None:
    result = result_of(random_events(1200, 12, 20, last_h=140, seed=4))
    case = len(result.cases) - 1
    user, at_s, tau_s = (int(part[case]) for part in (result.cases.user, result.cases.at_s, result.cases.tau_s))
    model = result.models["lightgbm"][-1]
    view = view_at(SETTINGS, prepare_history(SETTINGS, result.tables, None, model.trained_as_of_s), tau_s)
    scorer = make_scorer("lightgbm", model, view, range(at_s // HOUR_S, at_s // HOUR_S + 1))
    total = scorer.pair_scores(np.array([user]))[0] + scorer.hour_scores[:, 0]
    total += scorer.topic_scores(np.array([user]))[0, view.history.topic[view.pool], 0]
    posts = result.top["lightgbm"][case]
    assert np.isnan(result.scores["lightgbm"][case][posts < 0]).all()
    posts, shown = posts[posts >= 0], result.scores["lightgbm"][case][posts >= 0]
    assert len(shown)
    assert shown.tolist() == pytest.approx(total[view.place[posts]].tolist(), rel=1e-12)  # sums of another order
    acted = acted_on_at(SETTINGS, view)
    seen = acted.post[acted.begin[user] : acted.begin[user + 1]]
    assert total[view.place[posts]].max() == total[~np.isin(view.pool, seen)].max()


def test_the_lag_blind_ranker_knows_no_lag_and_trains_on_the_next_hour_alone() -> None:
    result = result_of(random_events(4000, 60, 20, last_h=140, seed=4), rankers=("lightgbm", LAG_BLIND), n_users=60)
    aware, blind = (result.models[ranker][-1] for ranker in ("lightgbm", LAG_BLIND))
    assert {column.name for column in aware.columns} - {column.name for column in blind.columns} == {"lag_h"}
    assert 0 < blind.groups < aware.groups
    assert summarise(result, 5)["models"].keys() == {"hourfeed", "hourfeed_lag_blind"}


def test_what_is_shown_at_a_refresh_does_not_depend_on_what_comes_later() -> None:
    events = random_events(1200, 12, 20, last_h=140, seed=4)
    one, other = result_of(events), result_of(events, tables_after=116)
    key = {(int(u), int(t)): row for u, t, row in zip(one.cases.user, one.cases.at_s, one.top["lightgbm"], strict=True)}
    compared = 0
    for user, at_s, row in zip(other.cases.user, other.cases.at_s, other.top["lightgbm"], strict=True):
        if at_s < 116 * HOUR_S:
            assert row.tolist() == key[int(user), int(at_s)].tolist()
            compared += 1
    assert compared >= 5
    assert len(one.models["lightgbm"]) == 3


def test_the_summary_adds_up() -> None:
    result = result_of(random_events(1200, 12, 20, last_h=140, seed=4))
    figures = summarise(result, 5)
    assert figures["cases"] == len(result.cases) > 10
    assert set(figures["models"]) == {"hourfeed", "popular_24h"}
    ours = figures["models"]["hourfeed"]
    for part in ("by_day", "by_history"):
        assert sum(group["cases"] for group in ours[part].values()) == figures["cases"]
        total = sum(group["cases"] * group["hitrate"] for group in ours[part].values())
        assert total / figures["cases"] == pytest.approx(ours["hitrate@5"], abs=1e-3)
    assert 0 < ours["coverage"] <= 1
    json.dumps(figures, allow_nan=False)


def test_late_cases_are_missed_by_everybody() -> None:
    result = result_of(random_events(1200, 12, 20, last_h=140, seed=4))
    n_cases = len(result.cases)
    hitrate = summarise_interval(result, 5)["models"]["hourfeed"]["hitrate@5"]
    late = replace(result.cases, posts=[np.zeros(0, dtype=np.int64)] * n_cases)
    figures = summarise_interval(replace(result, late=late), 5)
    assert (figures["cases"], figures["all_cases"]) == (n_cases, 2 * n_cases)
    assert figures["models"]["hourfeed"]["hitrate@5"] == hitrate
    assert figures["models"]["hourfeed"]["all_hitrate@5"] == pytest.approx(hitrate / 2, abs=1e-4)


def test_calibration_by_tenths_of_the_score() -> None:
    scores = np.arange(400.0).reshape(80, 5)
    hits = np.zeros((80, 5), dtype=bool)
    hits[-4:] = True  # the 20 highest of 400
    scores[0, 0] = np.nan
    bins = calibration(scores, hits)
    assert [entry["shown"] for entry in bins] == [40] * 9 + [39]
    assert [entry["hit_share"] for entry in bins] == [0.0] * 9 + [round(20 / 39, 4)]
    assert bins[0]["score"] == pytest.approx(20.5)
    assert calibration(scores[:2], hits[:2]) == []


def test_gain_is_that_of_features_over_all_parts() -> None:
    gain = feature_gain(result_of(random_events(1200, 12, 20, last_h=140, seed=4)).models["lightgbm"][-1])
    assert sum(gain.values()) == pytest.approx(1, abs=0.01)
    assert list(gain.values()) == sorted(gain.values(), reverse=True)
    assert len(gain) == len(set(gain))


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path)
    simulate(Parameters(users=80, posts=120, days=4), engine, SourceSchema(), tmp_path)
    engine.dispose()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOURFEED_STATE": str(tmp_path), "HOURFEED_TREES": "10"}

    def evaluate(*more: str) -> subprocess.CompletedProcess[str]:
        words = ["-m", "cli", "evaluate", "--from", "2021-12-29T06", "--to", "2021-12-30", *more]
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    rankers = ["--ranker", "lightgbm", "--ranker", "random", "--ranker", "popular_hour"]
    run = evaluate("--every", "6h", "--every", "24h", "--json", "f.json", "--html", "f.html", "--lag-blind", *rankers)
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert set(figures["models"]) == {"hourfeed", "hourfeed_lag_blind", "random", "popular_hour"}
    assert {"hitrate@5", "interval_95", "ndcg@5", "map@5", "recall@5"} <= figures["models"]["hourfeed"].keys()
    assert list(figures["by_interval"]) == ["6h", "24h"]
    for of in figures["by_interval"].values():
        assert set(of["models"]) == set(figures["models"])
    assert figures["by_interval"]["6h"]["models"]["random"]["hitrate@5"] == figures["models"]["random"]["hitrate@5"]
    assert f"{figures['cases']:,} cases" in run.stdout
    assert "popular_hour" in run.stdout
    assert (tmp_path / "f.html").read_text().startswith("<!doctype html>")
    assert "'1 hour' is not a duration" in evaluate("--every", "1 hour").stderr
    assert "'click' is not an action; known are view" in evaluate("--positive", "click").stderr
    assert "is not after" in evaluate("--to", "2021-12-01").stderr
    assert "the folder of none/f.html does not exist" in evaluate("--html", "none/f.html").stderr
