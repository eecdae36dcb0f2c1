"""The page of a replay is well-formed, whole in itself, and says what the figures say."""

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from batch.report.page import render
from charts.svg import Point, Series, bar_chart, line_chart


def model(hitrate: float | None) -> dict[str, Any]:
    group = {"cases": 4, "hitrate": hitrate, "interval_95": 0.1}
    return {
        "hitrate@5": hitrate,
        "interval_95": 0.1,
        "ndcg@5": hitrate,
        "map@5": hitrate,
        "recall@5": hitrate,
        "coverage": 0.25,
        "popular_share": 0.75,
        "novelty": 9.5,
        "by_day": {"2016-07-01": group, "2016-07-02": {**group, "interval_95": None}},
        "by_hour": {"09": group, "23": group},
        "by_history": {"0": group, "100+": group},
    }


def figures() -> dict[str, Any]:
    models = {"newest": model(0.25), "hourfeed": model(0.5), "a<b&c": model(None)}
    models["hourfeed"]["calibration"] = [{"score": -1.0, "shown": 20, "hit_share": 0.1}]
    models["hourfeed"]["feature_gain"] = {"age_h": 0.75, "knn": 0.25}
    of_interval = {
        name: {
            "hitrate@5": values["hitrate@5"],
            "interval_95": 0.1,
            "all_hitrate@5": 0.125,
            "all_interval_95": 0.1,
        }
        for name, values in models.items()
    }
    return {
        "from": "2016-07-01T00:00:00+00:00",
        "to": "2016-07-03T00:00:00+00:00",
        "every": "1h",
        "retrain": "7d",
        "k": 5,
        "positive": ["view", "like"],
        "cold": False,
        "cases": 8,
        "users": 3,
        "models": models,
        "by_interval": {"1h": {"cases": 8, "all_cases": 10, "models": of_interval}},
    }


def parsed(page: str) -> ET.Element:
    body = re.sub(r"<(meta[^>]*)>", r"<\1/>", page.removeprefix("<!doctype html>\n"))
    return ET.fromstring(body)


def test_the_page_is_well_formed_and_asks_for_nothing_from_elsewhere() -> None:
    page = render(figures())
    root = parsed(page)
    assert root.find("body/main/h1") is not None
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|href=", page)
    assert "prefers-color-scheme: dark" in page
    assert "a&lt;b&amp;c" in page


def test_every_picture_has_a_name_and_the_table_behind_it() -> None:
    root = parsed(render(figures()))
    sections = root.findall("body/main/section")
    assert [section.findtext("h2") for section in sections] == [
        "Rankers",
        "By day",
        "By hour of day",
        "By length of history",
        "By refresh interval",
        "Variety",
        "Calibration",
        "Features",
    ]
    for section in sections:
        pictures = section.findall("figure/svg")
        assert pictures
        assert all(picture.get("aria-label") and picture.findtext("title") for picture in pictures)
        assert section.findall("details//tbody/tr")


def test_tables_say_what_the_figures_say() -> None:
    root = parsed(render(figures()))
    rows = {
        section.findtext("h2"): [[cell.text for cell in row] for row in section.findall("details//tbody/tr")]
        for section in root.findall("body/main/section")
    }
    assert rows["Rankers"][0][:3] == ["hourfeed", "0.5000", "0.1000"]
    assert rows["Rankers"][-1][:2] == ["a<b&c", "–"]
    assert rows["By day"][1] == ["2016-07-02", "4", "50.0 %", "25.0 %", "–"]
    assert rows["By hour of day"][8] == ["08", "0", "–", "–", "–"]
    assert rows["By refresh interval"][0] == ["hourfeed", "0.1250", "0.5000"]
    assert rows["Calibration"] == [["1", "20", "-1.000", "10.0 %"]]
    assert rows["Features"] == [["age_h", "75.0 %"], ["knn", "25.0 %"]]


def test_a_replay_without_cases_or_without_our_ranker_still_makes_a_page() -> None:
    empty = figures()
    empty["models"] = {"newest": {**model(None), "by_day": {}, "by_hour": {}, "by_history": {}}}
    unknown = dict.fromkeys(("hitrate@5", "interval_95", "all_hitrate@5", "all_interval_95"))
    empty["by_interval"] = {"1h": {"cases": 0, "all_cases": 0, "models": {"newest": unknown}}}
    sections = [section.findtext("h2") for section in parsed(render(empty)).findall("body/main/section")]
    assert "Calibration" not in sections
    assert "Rankers" in sections


@pytest.mark.parametrize(("highest", "ticks"), [(0.95, "100 %"), (0.07, "8 %"), (0.0, "100 %"), (0.4, "40 %")])
def test_the_axis_ends_at_the_next_round_share(highest: float, ticks: str) -> None:
    picture = line_chart("t", ["a"], [Series("s", [Point(highest)], "s0")], x="x", y="y")
    axis = re.findall(r">([\d.]+ %)</text>", picture)
    assert axis[0] == "0 %"
    assert axis[-1] == ticks


def test_a_missing_value_leaves_a_gap_in_the_line_and_no_dot() -> None:
    points = [Point(0.5), Point(None), Point(0.25)]
    picture = line_chart("t", ["a", "b", "c"], [Series("s", points, "s0")], x="x", y="y")
    assert picture.count("<circle") == 2
    path = re.search(r'class="line" d="([^"]*)"', picture)
    assert path is not None
    assert path[1].count("M") == 2


def test_bars_are_as_long_as_their_values() -> None:
    picture = bar_chart("t", [("one", Point(0.5), "s0"), ("two", Point(0.25), "s1"), ("none", Point(None), "s1")])
    widths = [float(width) for width in re.findall(r'width="([\d.]+)"', picture)]
    assert widths[0] == pytest.approx(2 * widths[1])
    assert widths[2] == 0
