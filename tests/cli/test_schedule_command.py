"""`hourfeed schedule` as a process: it makes up for a missed run, goes on after a failure, and ends when told to."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from published import Generation, manifest_of
from redis import Redis

from batch.deadline import Watch
from batch.errors import BlockedError
from batch.run_record import RunRecord, read_record
from batch.schedule import Due, Outcome
from batch.settings import BatchSettings
from cli import schedule as command
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.generations import list_generations, live_generation
from slates.keys import Keys
from slates.last_run import read_last_run
from slates.manifest import Run
from source.engine import open_engine
from source.schema import SourceSchema

ROOT = Path(__file__).parent.parent.parent
NEVER = "0 0 29 2 *"


def until(condition: Callable[[], object], within_s: float = 90) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@contextmanager
def schedule(folder: Path, redis_url: str, cron: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOURFEED_STATE": str(folder), "REDIS_URL": redis_url}
    env |= {"HOURFEED_TREES": "10", "HOURFEED_TRAIN_GROUPS": "200", "HOURFEED_HOURS": "3"}
    command = [sys.executable, "-m", "cli", "schedule", "--cron", cron]
    process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def test_a_missed_run_is_made_up_for_at_the_start_and_sigterm_ends_it(
    tmp_path: Path, redis_url: str, redis_client: Redis
) -> None:
    engine = open_engine(None, tmp_path)
    end = datetime.now(UTC) - timedelta(hours=2)
    simulate(Parameters(users=60, posts=50, days=4, end=end), engine, SourceSchema(), tmp_path)
    engine.dispose()
    with schedule(tmp_path, redis_url, NEVER) as process:
        until(lambda: live_generation(redis_client, Keys()))
        until(lambda: redis_client.get(Keys().lock) is None)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "a full and a refresh run is due now" in told
    assert "stopped by SIGTERM" in told
    with schedule(tmp_path, redis_url, NEVER) as process:
        assert process.stderr is not None
        assert "due now" not in process.stderr.readline()  # it says so once it has looked, and nothing was missed
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert len(list_generations(redis_client, Keys())) == 1


def test_a_failed_run_is_told_with_its_reason_and_the_schedule_goes_on(
    tmp_path: Path, redis_url: str, redis_client: Redis
) -> None:
    with schedule(tmp_path, redis_url, NEVER) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while "failed with status" not in lines[-1]:
            assert lines[-1], "".join(lines)
            lines.append(process.stderr.readline())
        assert any("there is no table feed_data" in line for line in lines)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert live_generation(redis_client, Keys()) is None
    told = read_last_run(redis_client, Keys())
    assert told is not None
    assert (told.run, told.outcome, told.stage, told.failures) == ("full", "failed", "read", 1)
    assert told.reason.startswith("there is no table feed_data")
    assert read_record(tmp_path, Keys()) == told


def test_a_wrong_cron_expression_ends_it_at_once(tmp_path: Path, redis_url: str) -> None:
    with schedule(tmp_path, redis_url, "now and then") as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.startswith("error: schedule = 'now and then' is not a cron expression")


class Scene:
    """A scheduler's runs, with a program of the test's in the place of the batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, redis: Redis, state: Path) -> None:
        self.heard = command._Heard()
        self.runs = command._Runs(BatchSettings(state=state), redis, Keys(), self.heard)
        self.started: list[subprocess.Popen[bytes]] = []
        self.asked: list[list[str]] = []
        self.program = ""
        self._popen = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", self._start)

    def _start(self, argv: list[str], *, start_new_session: bool) -> subprocess.Popen[bytes]:
        assert start_new_session  # a signal of a terminal comes to it by the scheduler alone
        self.asked.append(argv[4:])
        self.started.append(self._popen([sys.executable, "-c", self.program], stdout=subprocess.PIPE))
        return self.started[-1]

    def run(self, kind: Run = "refresh") -> Outcome:
        return self.runs.run(Due(kind, TICK), TICK + timedelta(seconds=2))


TICK = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, redis_client: Redis, tmp_path: Path) -> Iterator[Scene]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    scene = Scene(monkeypatch, redis_client, tmp_path)
    yield scene
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for process in scene.started:
        process.kill()
        process.communicate()


def test_a_batch_is_asked_for_its_tick_as_of_the_moment_of_the_schedule(scene: Scene) -> None:
    assert scene.run() == scene.run("full") == "done"
    moments = ["--tick", "2026-03-01T12:00:00+00:00", "--as-of", "2026-03-01T12:00:02+00:00"]
    assert scene.asked == [[*moments, "--refresh"], moments]
    scene.program = "raise SystemExit(1)"
    assert scene.run() == "failed"


def test_a_batch_that_a_guard_has_blocked_is_not_tried_again_before_the_next_tick(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    scene.program = f"raise SystemExit({BlockedError.status})"
    assert scene.run() == "done"
    assert "is blocked by a guard" in capfd.readouterr().err


def test_a_tick_that_is_published_or_at_which_another_is_at_work_starts_nothing(
    scene: Scene, redis_client: Redis
) -> None:
    redis_client.set(Keys().lock, "another's")
    assert scene.run() == "busy"
    live = manifest_of(Generation("g-1", manifest={"as_of": TICK + timedelta(seconds=1), "run": "refresh"}))
    redis_client.hset(Keys().generation(live.id), items=[part for pair in live.to_hash().items() for part in pair])
    redis_client.zadd(Keys().generations, {live.id: 1})
    assert scene.run() == "done"
    assert scene.run("full") == "busy"  # it was a refresh
    redis_client.hset(Keys().generation(live.id), "state", "blocked")  # by another scheduler's run
    assert scene.run() == "done"
    assert scene.asked == []


def test_a_batch_that_was_killed_is_noted_by_the_scheduler(scene: Scene, redis_client: Redis, tmp_path: Path) -> None:
    record = RunRecord(tmp_path, redis_client, Keys(), "refresh", TICK, Watch())
    record.begin(3)
    record.stage("train")
    scene.program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert scene.run() == "failed"
    told = read_last_run(redis_client, Keys())
    assert told is not None
    assert (told.outcome, told.stage, told.failures) == ("killed", "train", 1)
    assert told.reason == "the process was killed by SIGKILL; was memory short?"


def test_a_signal_is_handed_on_to_the_batch_and_its_end_waited_for(scene: Scene) -> None:
    scene.program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )

    def interrupt() -> None:
        until(lambda: scene.started)
        stdout = scene.started[0].stdout
        assert stdout is not None
        assert stdout.readline() == b"ready\n"
        os.kill(os.getpid(), signal.SIGTERM)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    assert scene.run() == "failed"
    interrupter.join()
    assert scene.started[0].returncode == 143
    assert scene.heard.stopped(0.0)
    assert scene.run() == "failed"
    assert len(scene.started) == 1  # nothing begins after the signal
