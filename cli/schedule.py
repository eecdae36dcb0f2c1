"""`hourfeed schedule`: run a batch on every tick of two cron expressions, until told to stop."""

import queue
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import click
from redis import Redis

from batch.deadline import GRACE_S, WHOLE
from batch.errors import BlockedError
from batch.run_record import note_killed
from batch.schedule import KINDS, Agenda, Due, Outcome, is_overdue, latest_tick, parse_cron, run_loop
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.drain import opened_drain
from slates.client import REDIS_AWAY, RedisError
from slates.cluster import keys_of
from slates.errors import SlatesError
from slates.experiment import CONTROL, running_experiment
from slates.generations import list_generations, made_since
from slates.keys import Keys
from slates.manifest import Manifest, Run

_AFTER_GRACE_S = 30.0
"""Seconds that a batch has after its grace, which it keeps itself, before it is killed."""
_AWAY = (SlatesError, RedisError, *REDIS_AWAY)


@click.command("schedule")
@click.option("--cron", help="When to refresh: five fields, in UTC. Default: the setting `schedule`.")
@click.option("--full-cron", help="When to train and compare anew; empty: never. Default: the setting `full_schedule`.")
def command(cron: str | None, full_cron: str | None) -> None:
    """Run `hourfeed batch` on every tick, each in a process of its own; once at once if ticks were missed.

    Between the runs events that were posted are put into the database, as by `hourfeed drain`. A failed run is
    tried again after a minute, two, four and so on, or at the next tick. Several machines may do this for one Redis:
    whoever comes first to a tick runs it, the others leave it.
    """
    settings = read_settings(BatchSettings, schedule=cron, full_schedule=full_cron)
    triggers: dict[Run, Any] = {"refresh": parse_cron(settings.schedule)}
    if settings.full_schedule:
        triggers["full"] = parse_cron(settings.full_schedule, "full_schedule")
    heard = _Heard()
    # An embedded server stays up between the runs.
    with open_redis(settings) as redis, opened_drain(settings, redis) as drain, drain.in_background():
        keys, now = keys_of(redis, settings.prefix), datetime.now(UTC)
        agenda = Agenda(triggers, now)
        missed = _missed(redis, keys, triggers, now)
        for kind, tick in missed.items():
            agenda.add(kind, tick)
        full = f", full on {settings.full_schedule!r}" if settings.full_schedule else ""
        soon = f"a {' and a '.join(missed)} run is due now, " if missed else ""
        following = agenda.next_tick()
        upcoming = f"{following:%Y-%m-%dT%H:%MZ}" if following else "never"
        _say(f"refresh on {settings.schedule!r}{full} (UTC); {soon}the next tick is {upcoming}")
        runs = _Runs(settings, redis, keys, heard)
        run_loop(agenda, runs.run, heard.stopped)
        _say(f"stopped by {signal.Signals(heard.number).name}")


class _Heard:
    """Signals that ask for the end, and batches that have ended, as they come in."""

    def __init__(self) -> None:
        # A handler may interrupt the main thread anywhere, also where it holds a lock; a SimpleQueue takes that.
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.number = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._queue.put(number))

    def stopped(self, wait_s: float) -> bool:
        """Wait so long, or until something comes in; say whether a signal has asked for the end."""
        deadline = time.monotonic() + wait_s
        while not self.number:
            try:
                number = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return False
            if number is None:
                return False
            self.number = number
        return True

    def when_ended(self, process: "subprocess.Popen[bytes]") -> None:
        """Have `stopped` come back once a process has ended."""

        def wait() -> None:
            process.wait()
            self._queue.put(None)

        threading.Thread(target=wait, daemon=True).start()


class _Runs:
    """Runs batches as processes; one that is at work when a signal comes is asked to stop, and waited for."""

    def __init__(self, settings: BatchSettings, redis: Redis, keys: Keys, heard: _Heard) -> None:
        self._settings, self._redis, self._keys, self._heard = settings, redis, keys, heard

    def run(self, due: Due, as_of: datetime) -> Outcome:
        """Run a batch, then one for each arm of the experiment that runs."""
        outcomes: set[Outcome] = set()
        for arm in ("", *_arms_of(self._redis, self._keys)):
            if not self._heard.stopped(0.0):
                outcomes.add(self._run(due, as_of, arm))
        worst: list[Outcome] = [outcome for outcome in ("failed", "busy", "done") if outcome in outcomes]
        return worst[0] if worst else "failed"

    def _run(self, due: Due, as_of: datetime, arm: str) -> Outcome:
        keys = keys_of(self._redis, self._settings.prefix, arm)
        name = f"the {due.kind} run{f' of the arm {arm}' if arm else ''} for {due.tick:%Y-%m-%dT%H:%M:%SZ}"
        done, at_work = self._standing(keys, due)
        if done is not None:
            state = "blocked by a guard" if done.state == "blocked" else "published"
            _say(f"{name} is skipped: generation {done.id} is {state}")
            return "done"
        if at_work:
            _say(f"{name} is skipped: another run is at work")
            return "busy"
        begun = time.monotonic()
        status = self._batch(due, as_of, arm)
        took = f"after {time.monotonic() - begun:.0f} s"
        if status < 0:
            note_killed(self._settings.state, self._redis, keys, -status)
        if status == BlockedError.status:
            _say(f"{name} is blocked by a guard {took}, so it waits for the next tick")
            return "done"
        if status != 0:
            _say(f"{name} failed with status {status} {took}")
            return "failed"
        _say(f"{name} ended {took}")
        done, at_work = self._standing(keys, due)
        return "busy" if done is None and at_work else "done"

    def _batch(self, due: Due, as_of: datetime, arm: str) -> int:
        """Run `hourfeed batch` to its end, and return its exit status."""
        moments = ["--tick", due.tick.isoformat(), "--as-of", as_of.isoformat()]
        options = [*(["--refresh"] if due.kind == "refresh" else []), *(["--arm", arm] if arm else [])]
        command = [sys.executable, "-m", "cli", "batch", *moments, *options]
        # In a session of its own: a signal to all processes of a terminal would reach it twice, and twice is at once.
        process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own program
        self._heard.when_ended(process)
        limit_s = self._settings.deadlines.get(WHOLE, threading.TIMEOUT_MAX / 2) + GRACE_S + _AFTER_GRACE_S
        deadline = time.monotonic() + limit_s
        while process.poll() is None and not self._heard.stopped(max(0.0, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                break
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(GRACE_S + _AFTER_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _standing(self, keys: Keys, due: Due) -> tuple[Manifest | None, bool]:
        """Return the generation that is this tick's, None where there is none, and whether a run is at work."""
        try:
            now = datetime.now(UTC)
            done = made_since(self._redis, keys, due.tick, now, full=due.kind == "full")
            return done, bool(self._redis.exists(keys.lock))
        except _AWAY:
            return None, False  # the batch will say so


def _missed(redis: Redis, keys: Keys, triggers: dict[Run, Any], now: datetime) -> dict[Run, datetime]:
    """Return the latest tick of each kind whose runs were missed."""
    try:
        made = list_generations(redis, keys)
        published = [manifest for manifest in made if manifest.built_at and manifest.state != "candidate"]
    except _AWAY as error:
        _say(f"all counts as missed: {error}")
        published = []
    missed: dict[Run, datetime] = {}
    for kind in KINDS:
        as_of = [manifest.as_of for manifest in published if kind == "refresh" or manifest.run == "full"]
        if kind in triggers and is_overdue(triggers[kind], max(as_of, default=None), now):
            missed[kind] = latest_tick(triggers[kind], now) or now
    return missed


def _arms_of(redis: Redis, keys: Keys) -> list[str]:
    """Return the arms of the experiment that runs, without control and the canary's, which take part as they are."""
    try:
        running = running_experiment(redis, keys)
    except _AWAY as error:
        _say(f"no arms are run: {error}")
        return []
    return [arm for arm in running.shares if arm != CONTROL] if running and not running.is_canary else []


def _say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} schedule: {text}\n")
    sys.stderr.flush()
