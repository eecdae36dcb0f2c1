from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from batch.experiment import compare, report_on
from slates.experiment import Experiment
from source.engine import open_engine
from source.exposures import ExposureRow, insert_exposures
from source.schema import SourceSchema

AT = datetime(2021, 12, 20, 15, tzinfo=UTC)
AT_S = int(AT.timestamp())
HALVES = Experiment("fresher", "salt", {"control": 0.5, "test": 0.5}, AT)


def view(number: int, user: str, arm: str, posts: str = "1 2", minute: int = 0) -> ExposureRow:
    return ExposureRow(f"{number}-0", AT + timedelta(minutes=minute), "fresher", arm, user, "g", posts)


def simulated(users: int, rates: dict[str, float]) -> tuple[list[ExposureRow], list[tuple[str, str, int]]]:
    """Return five views of each user, of which a share by arm is followed by a like."""
    rng = np.random.default_rng(1)
    shown, likes = [], []
    for number in range(users):
        arm = HALVES.arm_of(str(number))
        for minute in range(5):
            shown.append(view(10 * number + minute, str(number), arm, f"{minute}", minute))
            if rng.random() < rates[arm]:
                likes.append((str(number), str(minute), AT_S + 60 * minute + 30))
    return shown, likes


def test_rates_are_those_worked_out_by_hand() -> None:
    shown = [
        view(1, "a", "control"),  # likes 1 within the hour and 2 after it: a hit, one of two posts
        view(2, "a", "control", "3", minute=1),  # likes 3 before it was shown: no hit
        view(3, "b", "test", "1 2 1"),  # likes both: a hit, two of two posts
        view(4, "c", "test", ""),  # an empty feed: a view
        view(5, "x", "control"),
        view(6, "x", "test"),  # in two arms
    ]
    likes = [
        ("a", "1", AT_S + 3_600),
        ("a", "2", AT_S + 3_601),
        ("a", "3", AT_S + 59),
        ("b", "1", AT_S),
        ("b", "2", AT_S + 1),
        ("b", "2", AT_S + 2),
        ("c", "1", AT_S + 1),
        ("x", "1", AT_S + 1),
    ]
    report = compare(HALVES, shown, likes)
    control, test = report.arms
    assert (control.users, control.views, control.hitrate, control.like_rate) == (1, 2, 0.5, round(1 / 3, 6))
    assert (test.users, test.views, test.hitrate, test.like_rate) == (2, 2, 0.5, 1.0)
    assert report.mixed_users == 1
    assert report.comparisons[0].difference == 0.0


def test_a_real_difference_is_found_and_told() -> None:
    report = compare(HALVES, *simulated(1_000, {"control": 0.2, "test": 0.3}))
    (one,) = report.comparisons
    assert 0.06 < one.difference < 0.14
    assert 0.0 < one.low < one.difference < one.high
    # Two rates of some 2,500 views each: a standard error of sqrt(.2 * .8 / 2500 + .3 * .7 / 2500) = .0122
    assert one.high - one.low == pytest.approx(2 * 1.96 * 0.0122, rel=0.15)
    assert one.p_mann_whitney < 0.001
    *_, last = report.lines()
    assert last.startswith("test is better than control, by a hitrate of 0.")
    assert last.endswith("the Mann-Whitney test agrees.")


def test_arms_that_are_alike_are_told_from_nothing() -> None:
    report = compare(HALVES, *simulated(1_000, {"control": 0.2, "test": 0.2}))
    (one,) = report.comparisons
    assert one.low < 0 < one.high
    assert one.p_mann_whitney > 0.05
    assert report.p_sample_ratio is not None
    assert report.p_sample_ratio > 0.01
    assert "cannot be told" in list(report.lines())[-1]


def test_an_arm_that_lost_users_makes_all_figures_worthless() -> None:
    shown, likes = simulated(1_000, {"control": 0.2, "test": 0.3})
    kept = [row for row in shown if row.arm == "control" or int(row.user_id) % 4]
    report = compare(HALVES, kept, likes)
    assert report.is_mismatch
    assert list(report.lines())[-1].startswith("The arms have not got the users")


@pytest.mark.parametrize("shown", [[], [view(1, "a", "control")], [view(1, "a", "test")]])
def test_without_views_of_two_arms_nothing_is_compared(shown: Sequence[ExposureRow]) -> None:
    report = compare(HALVES, shown, [])
    assert report.comparisons == []
    assert list(report.lines())[-1] == "Nothing can be compared yet: control and another arm need views."


def test_exposures_and_events_are_read_out_of_the_database(database_url: str, tmp_path: Path) -> None:
    engine, schema = open_engine(database_url, tmp_path), SourceSchema()
    assert report_on(engine, schema, HALVES, ["like"]).arms[0].views == 0  # neither table is there
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE feed_data (timestamp timestamp, user_id bigint, post_id bigint, action text)")
        )
        for user, action, second in ((7, "like", 5), (8, "view", 5), (8, "like", 3_700)):
            at = f"{AT + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}.500000"
            connection.execute(text(f"INSERT INTO feed_data VALUES ('{at}', {user}, 1, '{action}')"))
    other = view(3, "9", "test")._replace(experiment="another")
    insert_exposures(engine, schema, [view(1, "7", "control"), view(2, "8", "test"), other])
    control, test = report_on(engine, schema, HALVES, ["like"]).arms
    assert (control.users, control.hitrate, test.users, test.hitrate) == (1, 1.0, 1, 0.0)
    assert report_on(engine, schema, HALVES, ["like", "view"]).arms[1].hitrate == 1.0
    engine.dispose()
