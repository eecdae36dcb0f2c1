"""Alerts and dashboard: promtool takes every expression, each alert fires when it should, and every metric exists."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakeredis import FakeRedis, FakeServer
from published import Generation, put_posts
from tools import DEPLOY, ROOT, run

from server.app import create_app
from server.settings import ServerSettings
from slates.keys import Keys
from slates.last_run import LastRun, end_last_run

FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "hourfeed.rules.yml"
TESTS = FOLDER / "hourfeed.rules.test.yml"
BOARD = DEPLOY / "grafana/hourfeed.json"
GATE = {
    "chosen": "lightgbm",
    "trained": 0.6,
    "baseline": "popular_24h",
    "of_baseline": 0.5,
    "difference": 0.1,
    "interval_95": 0.02,
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def board() -> Any:
    return json.loads(BOARD.read_text())


def dashboard_expressions() -> list[str]:
    shown = board()
    asked = [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
    return [
        expression.replace("$job", ".*")
        for expression in [*asked, *(note["expr"] for note in shown["annotations"]["list"])]
    ]


def test_promtool_takes_rules_and_configuration() -> None:
    assert f"{len(rules())} rules found" in run("promtool", "check", "rules", RULES)
    run("promtool", "check", "config", FOLDER / "prometheus.yml")


def test_each_alert_fires_on_its_bad_day_and_none_on_a_good_one() -> None:
    run("promtool", "test", "rules", TESTS, cwd=FOLDER)


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    fired = set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))
    assert fired == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "action", "runbook"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    made = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(dashboard_expressions())]
    assert len(made) > 15
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    run("promtool", "check", "rules", tmp_path / "panels.yml")


@pytest.fixture
def told(server: FakeServer) -> str:
    """What /metrics of a server says that has a generation and has answered feeds."""
    redis = FakeRedis(server=server)
    manifest = {
        "as_of": datetime.now(UTC) - timedelta(hours=1),
        "seconds": {"read": 1.5},
        "gate": GATE,
        "guards": {"whole": 1.0, "overlap": 0.8},
        "alike": 0.25,
    }
    Generation(users={"7": {12: "1 2 3"}}, popular={12: "5 6"}, manifest=manifest).publish(redis)
    put_posts(redis, "12356")
    now = datetime.now(UTC).replace(microsecond=0)
    end_last_run(redis, Keys(), LastRun("full", "failed", "here", 1, as_of=now, begun_at=now, ended_at=now))
    client = create_app(ServerSettings(), redis).test_client()
    for user in ("7", "99"):
        assert client.get(f"/post/recommendations/?id={user}&time=2021-12-20T12").status_code == 200
        assert client.get(f"/v1/users/{user}/feed?time=2021-12-20T12").status_code == 200
    return client.get("/metrics").text


def test_every_metric_and_label_that_is_asked_for_is_told_by_the_server(told: str) -> None:
    samples = re.findall(r"^(hourfeed_\w+)(?:\{(.*)\})? ", told, re.MULTILINE)
    labels = {name: set(re.findall(r"(\w+)=\"", found)) | {"job", "instance"} for name, found in samples}
    expressions = [rule["expr"] for rule in rules()] + dashboard_expressions()
    for expression in expressions:
        asked = re.findall(r"(hourfeed_\w+)(?:\{([^}]*)\})?", expression)
        assert asked, expression
        for name, matchers in asked:
            assert name in labels, f"{name} in {expression}"
            assert set(re.findall(r"(\w+)[=!]~?\"", matchers)) <= labels[name], expression
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(", ")}
        assert grouped <= set().union(*(labels[name] for name, _ in asked)), expression


def test_the_pattern_for_the_routes_of_feeds_means_these_alone(told: str) -> None:
    patterns = {found for rule in rules() for found in re.findall(r'route=~"([^"]*)"', rule["expr"])}
    patterns |= {found for expr in dashboard_expressions() for found in re.findall(r'route=~"([^"]*)"', expr)}
    assert len(patterns) == 1
    routes = {rule.rule for rule in create_app(ServerSettings(), FakeRedis()).url_map.iter_rules()}
    meant = {route for route in routes if re.fullmatch(next(iter(patterns)), route)}
    asked = set(re.findall(r'hourfeed_request_seconds_count\{route="([^"]*)"\}', told))
    assert asked <= meant


def test_the_dashboard_is_laid_out_without_overlaps_and_asks_the_chosen_source() -> None:
    shown = board()
    panels = shown["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    assert {variable["name"] for variable in shown["templating"]["list"]} == {"datasource", "job"}
