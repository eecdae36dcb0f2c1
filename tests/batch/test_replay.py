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

from batch.evaluate import summarise
from batch.replay import ReplayCases, ReplayResult, Window, find_cases, replay
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


def test_with_longer_intervals_the_refresh_is_the_last_one_before_the_touch() -> None:
    daily = Window(72 * HOUR_S, 120 * HOUR_S, 24 * HOUR_S, 24 * HOUR_S)
    assert [case[2] for case in told(cases_of([(95.9, 0, 1, "view"), (96.0, 0, 2, "view")], daily))] == [72.0, 96.0]
    quick = Window(90 * HOUR_S, 100 * HOUR_S, 600, 24 * HOUR_S)
    assert told(cases_of([(91.49, 0, 1, "view")], quick))[0][2] == pytest.approx(91 + 2 / 6)


def result_of(events: list[tuple[float, int, int, str]], tables_after: int | None = None) -> ReplayResult:
    tables = make_tables(events, n_users=12, n_posts=20, as_of_h=140, topic=["a", "b"] * 10)
    if tables_after is not None:  # everything from then on becomes something else
        later = tables.events.at_s >= tables_after * HOUR_S
        post = np.where(later, (tables.events.post + 7) % 20, tables.events.post).astype(np.int32)
        tables = replace(tables, events=Events(tables.events.at_s, tables.events.user, post, tables.events.action))
    settings = BatchSettings(hours=4, trees=10, train_groups=200, train_negatives=10)
    window = Window(100 * HOUR_S, 130 * HOUR_S, 4 * HOUR_S, 12 * HOUR_S)
    return replay(settings, tables, window, ["lightgbm", "popular_24h"], ["view", "like"], 5, _Silent())


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
    assert len(one.models) == 3


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
    run = evaluate("--every", "6h", "--json", "figures.json", *rankers)
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["models"]) == {"hourfeed", "random", "popular_hour"}
    assert {"hitrate@5", "interval_95", "ndcg@5", "map@5", "recall@5"} <= figures["models"]["hourfeed"].keys()
    assert f"{figures['cases']:,} cases" in run.stdout
    assert "popular_hour" in run.stdout
    assert "'1 hour' is not a duration" in evaluate("--every", "1 hour").stderr
    assert "'click' is not an action; known are view" in evaluate("--positive", "click").stderr
    assert "is not after" in evaluate("--to", "2021-12-01").stderr
