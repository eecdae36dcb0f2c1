"""What a scheduler has to run and when: by cron expressions, once for any number of missed ticks, again after failures.

Nothing here waits for a tick alone: a clock that is set back or forth costs no more than the next look at it.
"""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from apscheduler.triggers.cron import CronTrigger

from batch.errors import BatchError
from slates.manifest import Run

KINDS: tuple[Run, ...] = ("full", "refresh")
"""Kinds of runs; where several are due, the first goes first, and stands for the others."""
Outcome = Literal["done", "failed", "busy"]
"""busy : another scheduler's run was at work, so that it remains to be seen what becomes of the tick."""
AGAIN_AFTER_S = 60.0
"""Seconds to the first retry; each further one waits twice as long. The next tick does not wait for any."""
LOOK_EVERY_S = 30.0
"""Seconds between two looks at the clock at most."""
_SET_BACK = timedelta(seconds=5)


def parse_cron(expression: str, setting: str = "schedule") -> CronTrigger:
    """Read a cron expression of five fields, in UTC; raise BatchError where it is none."""
    try:
        return CronTrigger.from_crontab(expression, timezone=UTC)
    except ValueError as error:
        msg = f"{setting} = {expression!r} is not a cron expression ({error}); write five fields, as in '5 * * * *'"
        raise BatchError(msg) from error


def is_overdue(trigger: Any, last_run: datetime | None, now: datetime) -> bool:
    """Say whether a tick has passed since the run that began at `last_run` (None: there was none)."""
    if last_run is None or last_run > now:  # in the future: a clock was wrong then, or is now
        return True
    due = trigger.get_next_fire_time(None, last_run + timedelta(microseconds=1))
    return due is not None and due <= now


def interval_s(trigger: Any, moment: datetime) -> float:
    """Return the seconds between the next two ticks after `moment`; infinite where there are no two."""
    first = trigger.get_next_fire_time(None, moment)
    second = first and trigger.get_next_fire_time(first, first + timedelta(microseconds=1))
    return (second - first).total_seconds() if first and second else math.inf


def latest_tick(trigger: Any, now: datetime) -> datetime | None:
    """Return the last tick up to `now`; None where there was none in four years."""
    for days in (1 / 24, 1, 31, 4 * 366):
        ticks = Ticks(trigger, now - timedelta(days=days))
        if tick := ticks.passed(now):
            return tick
    return None


class Ticks:
    """The ticks of an APScheduler trigger, from `begin` on, as a clock goes on that may be set anew."""

    def __init__(self, trigger: Any, begin: datetime) -> None:
        self._trigger = trigger
        self._seen = begin
        self.next: datetime | None = trigger.get_next_fire_time(None, begin)

    def passed(self, now: datetime) -> datetime | None:
        """Return the latest tick that has passed since the last look, None where none has."""
        if now < self._seen - _SET_BACK:  # ticks that were far ahead are near again
            self.next = self._trigger.get_next_fire_time(None, now)
        self._seen = now
        latest = None
        while self.next is not None and self.next <= now:
            latest = self.next
            self.next = self._trigger.get_next_fire_time(latest, latest + timedelta(microseconds=1))
        return latest


@dataclass(frozen=True)
class Due:
    """A run that is to be: for which tick. as_of : that of the try before, which may be gone on with; None: now."""

    kind: Run
    tick: datetime
    as_of: datetime | None = None


class Agenda:
    """What is due of each kind, and what is tried again when.

    jitter : stretches every wait, so that two schedulers do not meet again and again.
    """

    def __init__(
        self,
        triggers: Mapping[Run, Any],
        now: datetime,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311 - nothing is secret about it
        again_after_s: float = AGAIN_AFTER_S,
    ) -> None:
        self._ticks = {kind: Ticks(triggers[kind], now) for kind in KINDS if kind in triggers}
        self._clock, self._jitter, self._again_after_s = clock, jitter, again_after_s
        self._due: dict[Run, Due] = {}
        self._not_before: dict[Run, float] = {}
        self._failures: dict[Run, int] = dict.fromkeys(KINDS, 0)

    def add(self, kind: Run, tick: datetime) -> None:
        """Have a run at once, for a tick that has passed."""
        self._due[kind], self._not_before[kind] = Due(kind, tick), 0.0

    def look(self, now: datetime) -> None:
        """Take in the ticks that have passed."""
        for kind, ticks in self._ticks.items():
            if tick := ticks.passed(now):
                self.add(kind, tick)

    def take(self) -> Due | None:
        """Return what is to be run now, None where nothing is."""
        for kind in KINDS:
            if kind in self._due and self._not_before[kind] <= self._clock():
                return self._due[kind]
        return None

    def ended(self, due: Due, as_of: datetime, outcome: Outcome) -> None:
        """Take in how a run came out that began as of `as_of`: it is done with, or to be tried again later."""
        # Whatever ran in between, the shards of another kind's last try are gone, and its as-of would be old news.
        self._due = {kind: replace(other, as_of=None) for kind, other in self._due.items()}
        if outcome == "done":
            self._failures[due.kind] = 0
            del self._due[due.kind]
            if due.kind == "full" and "refresh" in self._due and self._due["refresh"].tick <= as_of:
                del self._due["refresh"]  # a full run has all that a refresh has
            return
        if outcome == "failed":
            self._failures[due.kind] += 1
            self._due[due.kind] = replace(due, as_of=as_of)
        waits = self._again_after_s * 2 ** max(0, min(self._failures[due.kind], 20) - 1)
        self._not_before[due.kind] = self._clock() + waits * self._jitter()

    def next_tick(self) -> datetime | None:
        """Return the next tick of any kind."""
        return min((ticks.next for ticks in self._ticks.values() if ticks.next), default=None)

    def wait_s(self, now: datetime) -> float:
        """Return the seconds until something may be due, LOOK_EVERY_S at most."""
        upcoming = self.next_tick()
        waits = [(upcoming - now).total_seconds()] if upcoming else []
        waits += [self._not_before[kind] - self._clock() for kind in self._due]
        return max(0.0, min([LOOK_EVERY_S, *waits]))


def run_loop(
    agenda: Agenda,
    run: Callable[[Due, datetime], Outcome],
    stopped: Callable[[float], bool],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Run what is due, one after the other, until `stopped`, which waits so many seconds, says so."""
    while True:
        agenda.look(now())
        due = agenda.take()
        if due is None:
            if stopped(agenda.wait_s(now())):
                return
            continue
        as_of = due.as_of or now().replace(microsecond=0)
        outcome = run(due, as_of)
        if stopped(0.0):
            return
        agenda.ended(due, as_of, outcome)
