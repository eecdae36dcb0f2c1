"""Runs a batch on every tick of a cron expression: one at a time, and once for any number of missed ticks."""

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from batch.errors import BatchError


def parse_cron(expression: str) -> CronTrigger:
    """Read a cron expression of five fields, in UTC; raise BatchError where it is none."""
    try:
        return CronTrigger.from_crontab(expression, timezone=UTC)
    except ValueError as error:
        msg = f"schedule = {expression!r} is not a cron expression ({error}); write five fields, as in '5 * * * *'"
        raise BatchError(msg) from error


def is_overdue(trigger: CronTrigger, last_run: datetime | None, now: datetime) -> bool:
    """Say whether a tick has passed since the run that began at `last_run` (None: there was none)."""
    if last_run is None:
        return True
    due = trigger.get_next_fire_time(None, last_run + timedelta(microseconds=1))
    return due is not None and due <= now


def interval_s(trigger: CronTrigger, moment: datetime) -> float:
    """Return the seconds between the next two ticks after `moment`; infinite where there are no two."""
    first = trigger.get_next_fire_time(None, moment)
    second = first and trigger.get_next_fire_time(first, first + timedelta(microseconds=1))
    return (second - first).total_seconds() if first and second else math.inf


def build_scheduler(trigger: Any, run: Callable[[], None], *, now_too: bool) -> BackgroundScheduler:
    """Return a scheduler that calls `run` on every tick of an APScheduler trigger, and at once if `now_too`.

    Once started, it does so in threads of its own. While one run goes on, the first tick that passes waits for its end
    and further ones are dropped, so that runs never overlap and missed ticks are made up for by one run.
    """
    turn = threading.Lock()

    def run_in_turn() -> None:
        with turn:
            run()

    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(2)})
    first = {"next_run_time": datetime.now(UTC)} if now_too else {}
    scheduler.add_job(run_in_turn, trigger, coalesce=True, misfire_grace_time=None, max_instances=2, **first)
    return scheduler
