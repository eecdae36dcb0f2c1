"""Runs a batch on every tick of a cron expression: one at a time, and once for any number of missed ticks."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger

from batch.errors import BatchError

_log = logging.getLogger(__name__)


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
    due = trigger.get_next_fire_time(None, last_run)
    return due is not None and due <= now


def build_scheduler(trigger: CronTrigger, run: Callable[[], None], *, now_too: bool) -> BlockingScheduler:
    """Return a scheduler that calls `run` on every tick, and at once if `now_too`; its start() blocks.

    The job runs in the scheduler's own thread. So no two runs overlap, and ticks that pass meanwhile are due when it
    ends, coalesced into one.
    """
    scheduler = BlockingScheduler(timezone=UTC, executors={"default": DebugExecutor()})
    options = {"next_run_time": datetime.now(UTC)} if now_too else {}
    scheduler.add_job(run, trigger, id="batch", coalesce=True, misfire_grace_time=None, max_instances=1, **options)
    return scheduler
