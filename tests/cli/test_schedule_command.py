"""`hourfeed schedule` as a process: it makes up for a missed run, goes on after a failure, and ends when told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from cli import schedule as command
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.generations import list_generations, live_generation
from slates.keys import Keys
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
    assert "one is due now" in told
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


def test_a_wrong_cron_expression_ends_it_at_once(tmp_path: Path, redis_url: str) -> None:
    with schedule(tmp_path, redis_url, "now and then") as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.startswith("error: schedule = 'now and then' is not a cron expression")


def test_a_batch_that_starts_while_the_schedule_stops_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = command._Runs(list)
    started: list[subprocess.Popen[bytes]] = []

    def start_while_stopping(_command: list[str]) -> subprocess.Popen[bytes]:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        runs.stop()
        return started[0]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start_while_stopping)
    runs.run()
    assert started[0].returncode == -signal.SIGTERM
