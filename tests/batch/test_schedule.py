"""The schedule: what is due when, whatever failed, was missed, or was done by others, and whatever the clock does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from batch.errors import BatchError
from batch.schedule import Agenda, Due, Outcome, Ticks, interval_s, is_overdue, latest_tick, parse_cron, run_loop

HOURLY = parse_cron("5 * * * *")
REFRESH, FULL = parse_cron("*/10 * * * *"), parse_cron("0 3 * * *")


def at(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "overdue"),
    [
        (None, at(12, 0), True),
        (at(11, 5), at(12, 4), False),
        (at(11, 5), at(12, 5), True),
        (at(12, 6), at(12, 59), False),
        (at(3, 0), at(12, 0), True),
        (at(13, 30), at(12, 0), True),  # a clock was wrong
    ],
)
def test_a_run_is_overdue_when_a_tick_has_passed_since_the_last(
    last: datetime | None, now: datetime, overdue: bool
) -> None:
    assert is_overdue(HOURLY, last, now) is overdue


def test_the_interval_is_that_between_the_next_two_ticks() -> None:
    assert interval_s(HOURLY, at(12, 5)) == 3600
    assert interval_s(REFRESH, at(12, 1)) == 600
    assert interval_s(FULL, at(12, 0)) == 86_400


def test_a_wrong_expression_is_named() -> None:
    with pytest.raises(BatchError, match=r"schedule = 'every hour'.*five fields"):
        parse_cron("every hour")
    with pytest.raises(BatchError, match=r"full_schedule = '61 \* \* \* \*'"):
        parse_cron("61 * * * *", "full_schedule")


def test_the_latest_tick_is_found_however_rare() -> None:
    assert latest_tick(REFRESH, at(12, 9)) == at(12, 0)
    assert latest_tick(REFRESH, at(12, 10)) == at(12, 10)
    assert latest_tick(FULL, at(2, 59)) == at(3, 0) - timedelta(days=1)
    assert latest_tick(parse_cron("0 0 29 2 *"), at(0, 0)) == datetime(2024, 2, 29, tzinfo=UTC)
    assert latest_tick(parse_cron("0 0 31 2 *"), at(0, 0)) is None


def test_of_many_missed_ticks_the_latest_counts() -> None:
    ticks = Ticks(REFRESH, at(12, 1))
    assert ticks.passed(at(12, 9)) is None
    assert ticks.passed(at(12, 10)) == at(12, 10)
    assert ticks.passed(at(12, 11)) is None
    assert ticks.passed(at(17, 59)) == at(17, 50)


def test_a_clock_that_is_set_back_does_not_silence_the_schedule() -> None:
    ticks = Ticks(REFRESH, at(12, 1))
    assert ticks.passed(at(12, 12)) == at(12, 10)
    assert ticks.passed(at(9, 4)) is None
    assert ticks.next == at(9, 10)
    assert ticks.passed(at(9, 10)) == at(9, 10)


class Clock:
    """A clock of both kinds that goes on when somebody waits."""

    def __init__(self) -> None:
        self.now = at(2, 41)
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return (self.now - at(0, 0)).total_seconds()

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += timedelta(seconds=seconds)


Ran = tuple[str, datetime, datetime]


def ran(clock: Clock, outcome: Callable[[Due, datetime], Outcome], until: datetime, takes_s: float = 5) -> list[Ran]:
    """Run both schedules from 2:41 on; return kind, as-of and begin of each run."""
    agenda = Agenda({"refresh": REFRESH, "full": FULL}, clock.now, clock.monotonic, jitter=lambda: 1.0)
    runs: list[Ran] = []

    def run(due: Due, as_of: datetime) -> Outcome:
        runs.append((due.kind, as_of, clock.now))
        clock.now += timedelta(seconds=takes_s)
        return outcome(due, as_of)

    def stopped(seconds: float) -> bool:
        clock.wait(seconds)
        return clock.now >= until

    run_loop(agenda, run, stopped, lambda: clock.now)
    return runs


def test_a_run_begins_at_every_tick_and_a_full_one_stands_for_the_refresh_of_its_tick() -> None:
    clock = Clock()
    runs = ran(clock, lambda *_: "done", at(3, 25))
    assert [(kind, begun) for kind, _, begun in runs] == [
        ("refresh", at(2, 50)),
        ("full", at(3, 0)),
        ("refresh", at(3, 10)),
        ("refresh", at(3, 20)),
    ]
    assert max(clock.waited) <= 30


def test_ticks_that_pass_during_a_run_are_made_up_for_by_one() -> None:
    runs = ran(Clock(), lambda *_: "done", at(3, 59), takes_s=25 * 60)
    assert [(kind, begun) for kind, _, begun in runs] == [
        ("refresh", at(2, 50)),  # ends at 3:15
        ("full", at(3, 15)),  # and the refresh of 3:10 with it; ends at 3:40
        ("refresh", at(3, 40)),
    ]


def test_a_failed_run_is_tried_again_after_one_two_and_four_minutes_as_of_the_same_moment() -> None:
    runs = ran(Clock(), lambda *_: "failed", at(2, 59))
    assert [begun for *_, begun in runs] == [at(2, 50), at(2, 51, 5), at(2, 53, 10), at(2, 57, 15)]
    assert {as_of for _, as_of, _ in runs} == {at(2, 50)}


def test_the_next_tick_does_not_wait_for_a_retry_and_waits_go_on_growing() -> None:
    runs = ran(Clock(), lambda due, _: "failed" if due.kind == "refresh" else "done", at(3, 29))
    assert [(kind, begun) for kind, _, begun in runs][4:] == [
        ("full", at(3, 0)),
        ("refresh", at(3, 10)),  # the full run was also the refresh of 3:00, but ended nothing of what fails
        ("refresh", at(3, 20)),
    ]
    assert [as_of for _, as_of, _ in runs][4:] == [at(3, 0), at(3, 10), at(3, 20)]


def test_refreshes_go_on_while_a_full_run_fails_and_its_retry_sees_what_is_new() -> None:
    runs = ran(Clock(), lambda due, _: "failed" if due.kind == "full" else "done", at(3, 12))
    assert runs[1:] == [
        ("full", at(3, 0), at(3, 0)),
        ("refresh", at(3, 0, 5), at(3, 0, 5)),
        ("full", at(3, 1, 5), at(3, 1, 5)),
        ("full", at(3, 1, 5), at(3, 3, 10)),  # nothing ran in between, so it may go on from what is written
        ("full", at(3, 1, 5), at(3, 7, 15)),
        ("refresh", at(3, 10), at(3, 10)),
    ]


def test_where_another_is_at_work_the_tick_is_looked_at_again_every_minute() -> None:
    outcomes: list[Outcome] = ["busy", "busy", "done"]
    runs = ran(Clock(), lambda *_: outcomes.pop(0), at(2, 59))
    assert [begun for *_, begun in runs] == [at(2, 50), at(2, 51, 5), at(2, 52, 10)]
    assert [as_of for _, as_of, _ in runs] == [at(2, 50), at(2, 51, 5), at(2, 52, 10)]
