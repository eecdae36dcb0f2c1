"""The schedule: no two runs at once, and one run for any number of missed ticks."""

import threading
import time
from datetime import UTC, datetime

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from batch.errors import BatchError
from batch.schedule import build_scheduler, interval_s, is_overdue, parse_cron

HOURLY = parse_cron("5 * * * *")


def at(hour: int, minute: int) -> datetime:
    return datetime(2026, 3, 1, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "overdue"),
    [
        (None, at(12, 0), True),
        (at(11, 5), at(12, 4), False),
        (at(11, 5), at(12, 5), True),
        (at(12, 6), at(12, 59), False),
        (at(3, 0), at(12, 0), True),
    ],
)
def test_a_run_is_overdue_when_a_tick_has_passed_since_the_last(
    last: datetime | None, now: datetime, overdue: bool
) -> None:
    assert is_overdue(HOURLY, last, now) is overdue


def test_the_interval_is_that_between_the_next_two_ticks() -> None:
    assert interval_s(HOURLY, at(12, 5)) == 3600
    assert interval_s(parse_cron("*/10 * * * *"), at(12, 1)) == 600
    assert interval_s(parse_cron("0 3 * * *"), at(12, 0)) == 86_400


def test_a_wrong_expression_is_named() -> None:
    with pytest.raises(BatchError, match=r"schedule = 'every hour'.*five fields"):
        parse_cron("every hour")


def test_ticks_missed_during_a_run_are_made_up_for_by_one_run() -> None:
    """Given a first run that outlasts ten ticks, when it ends, then one run makes up for them and the ticks go on."""
    runs: list[tuple[float, float]] = []
    ended = threading.Event()

    def run() -> None:
        begun = time.monotonic()
        while not runs and time.monotonic() < begun + 0.5:
            pass  # the first run is busy while ten ticks pass
        runs.append((begun, time.monotonic()))
        if len(runs) == 8:
            ended.set()

    scheduler = build_scheduler(IntervalTrigger(seconds=0.05, timezone=UTC), run, now_too=True)
    scheduler.start()
    assert ended.wait(60)
    scheduler.shutdown()
    ends, begins = [end for _, end in runs], [begin for begin, _ in runs]
    assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))
    assert begins[7] - begins[1] > 0.15  # had the ten been queued, seven would follow at once
