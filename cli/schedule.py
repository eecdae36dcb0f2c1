"""`hourfeed schedule`: run a batch on every tick of a cron expression, until told to stop."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from queue import SimpleQueue

import click
from redis import Redis

from batch.schedule import build_scheduler, is_overdue, parse_cron
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.drain import opened_drain
from slates.client import RedisError
from slates.cluster import keys_of
from slates.errors import SlatesError
from slates.experiment import CONTROL, running_experiment
from slates.generations import list_generations
from slates.keys import Keys


@click.command("schedule")
@click.option("--cron", help="Five fields, in UTC. Default: the setting `schedule`.")
def command(cron: str | None) -> None:
    """Run `hourfeed batch --refresh` on every tick, each in a process of its own; once at once if a tick was missed.

    Between the runs events that were posted are put into the database, as by `hourfeed drain`.
    A failed run is reported and the next tick tries again; the live generation stays as it is meanwhile.
    """
    settings = read_settings(BatchSettings, schedule=cron)
    trigger = parse_cron(settings.schedule)
    stops = _stop_signals()
    # An embedded server stays up between the runs.
    with open_redis(settings) as redis, opened_drain(settings, redis) as drain, drain.in_background():
        keys = keys_of(redis, settings.prefix)
        runs = _Runs(lambda: _arms_of(redis, keys))
        begun = [manifest.started_at for manifest in list_generations(redis, keys) if manifest.built_at]
        overdue = is_overdue(trigger, max(begun, default=None), datetime.now(UTC))
        scheduler = build_scheduler(trigger, runs.run, now_too=overdue)
        following = trigger.get_next_fire_time(None, datetime.now(UTC))
        soon = "one is due now, " if overdue else ""
        _say(f"batch on {settings.schedule!r} (UTC); {soon}the next tick is {following:%Y-%m-%dT%H:%MZ}")
        scheduler.start()
        number = stops.get()
        runs.stop()
        _say(f"stopped by {signal.Signals(number).name}")
        scheduler.shutdown(wait=False)


def _stop_signals() -> SimpleQueue[int]:
    """Return where signals that ask for the end come in from now on.

    A handler may interrupt the main thread anywhere, also where it holds a lock; a SimpleQueue takes that.
    """
    stops: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stops.put(number))
    return stops


class _Runs:
    """Starts batches as processes, and ends the one that runs when asked to stop."""

    def __init__(self, arms: Callable[[], list[str]]) -> None:
        self._arms = arms
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self) -> None:
        """Run a batch, then one for each arm of the experiment that runs."""
        self._run()
        for arm in self._arms():
            self._run("--arm", arm)

    def _run(self, *options: str) -> None:
        if self._stopped:
            return
        begun = datetime.now(UTC)
        command = [sys.executable, "-m", "cli", "batch", "--refresh", *options]
        self._process = subprocess.Popen(command)  # noqa: S603 - our own program
        if self._stopped:  # while it started
            self._process.terminate()
        status = self._process.wait()
        took_s = (datetime.now(UTC) - begun).total_seconds()
        if not self._stopped:
            ended = f"failed with status {status}" if status else "ended"
            _say(f"the batch{' '.join(('', *options))} of {begun:%Y-%m-%dT%H:%M:%SZ} {ended} after {took_s:.0f} s")

    def stop(self) -> None:
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _arms_of(redis: Redis, keys: Keys) -> list[str]:
    """Return the arms of the experiment that runs, without control and the canary's, which take part as they are."""
    try:
        running = running_experiment(redis, keys)
    except (SlatesError, RedisError) as error:
        _say(f"no arms are run: {error}")
        return []
    return [arm for arm in running.shares if arm != CONTROL] if running and not running.is_canary else []


def _say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} schedule: {text}\n")
    sys.stderr.flush()
