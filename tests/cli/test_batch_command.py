"""`hourfeed batch` as schedules and process managers see it: when it has nothing to do, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

import batch.pipeline
from batch.run_record import read_record
from cli.main import run
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.generations import list_generations, live_generation
from slates.keys import Keys
from slates.last_run import LastRun, read_last_run
from source.engine import open_engine
from source.schema import SourceSchema

ROOT = Path(__file__).parent.parent.parent
AS_OF = datetime(2021, 12, 30, 12, tzinfo=UTC)
KEYS = Keys()
SHORT_GRACE = (
    "from batch.deadline import Watch; Watch.__init__.__kwdefaults__['grace_s'] = 0.3; from cli.main import run; run()"
)


def fill(database_url: str, folder: Path) -> None:
    engine = open_engine(database_url, folder)
    simulate(Parameters(users=40, posts=50, days=3, end=AS_OF), engine, SourceSchema(), folder)
    engine.dispose()


@pytest.fixture
def here(tmp_path: Path, sqlite_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands of this process work on a small network in SQLite."""
    fill(sqlite_url, tmp_path)
    given = {"DATABASE_URL": sqlite_url, "REDIS_URL": redis_url, "HOURFEED_STATE": str(tmp_path)}
    for name, value in {**given, "HOURFEED_RANKER": "popular_24h", "HOURFEED_HOURS": "2"}.items():
        monkeypatch.setenv(name, value)


def hourfeed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process, and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["hourfeed", *words])
    with pytest.raises(SystemExit) as ended:
        run()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def last_run(redis: Redis) -> LastRun:
    told = read_last_run(redis, KEYS)
    assert told is not None
    return told


@pytest.mark.usefixtures("here")
def test_a_tick_that_is_done_is_skipped_and_the_next_one_is_not(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ticks = [(now + timedelta(seconds=seconds)).isoformat() for seconds in (-1, 0)]
    assert hourfeed(monkeypatch, "batch", "--refresh", "--tick", ticks[0], "--as-of", ticks[0]) == 0
    published = last_run(redis_client)
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert (published.run, published.outcome, published.generation) == ("refresh", "published", live.id)
    assert read_record(tmp_path, KEYS) == published
    assert live.run == "full"  # a baseline needs no training

    capsys.readouterr()
    assert hourfeed(monkeypatch, "batch", "--tick", ticks[0], "--as-of", ticks[1]) == 0
    assert capsys.readouterr().out.startswith(f"skipped: generation {live.id} is that of the tick")
    assert last_run(redis_client) == published
    assert len(list_generations(redis_client, KEYS)) == 1

    redis_client.hset(KEYS.generation(live.id), "state", "blocked")
    assert hourfeed(monkeypatch, "batch", "--tick", ticks[0], "--as-of", ticks[1]) == 0
    assert capsys.readouterr().out.startswith(f"skipped: generation {live.id}, which a guard has blocked, is that")
    assert hourfeed(monkeypatch, "batch", "--force", "--tick", ticks[0], "--as-of", ticks[0]) == 0
    assert len(list_generations(redis_client, KEYS)) == 2

    assert hourfeed(monkeypatch, "batch", "--tick", ticks[1], "--as-of", ticks[1]) == 0
    assert len(list_generations(redis_client, KEYS)) == 3


@pytest.mark.usefixtures("here")
def test_beside_a_run_at_work_a_tick_is_left_and_any_other_run_ends_with_75(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redis_client.set(KEYS.lock, json.dumps({"host": "elsewhere", "pid": 7, "token": ""}))
    monkeypatch.setattr(batch.pipeline, "LOCK_WAIT_S", 0.0)
    assert hourfeed(monkeypatch, "batch", "--refresh", "--tick", "last") == 0
    assert capsys.readouterr().out.startswith("skipped: another run is at work")
    assert hourfeed(monkeypatch, "batch") == 75
    assert "another batch holds hourfeed:lock (process 7 on elsewhere)" in capsys.readouterr().err
    assert read_last_run(redis_client, KEYS) is None
    assert redis_client.get(KEYS.current) is None


@pytest.mark.usefixtures("here")
def test_a_run_that_fails_is_noted_with_its_stage_and_status_says_so(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for failures in (1, 2):
        assert hourfeed(monkeypatch, "batch", "--as-of", "1999-01-01T00:00") == 1
        told = last_run(redis_client)
        assert (told.run, told.outcome, told.stage, told.failures) == ("full", "failed", "read", failures)
    capsys.readouterr()
    assert hourfeed(monkeypatch, "status") == 1
    assert "failed in the stage read, 2 in a row: no post exists before 1999" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["--tick then", "--tick 2021-13-01", "--refresh --model x"])
@pytest.mark.usefixtures("here")
def test_a_wrong_option_ends_with_2(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hourfeed(monkeypatch, "batch", *words.split()) == 2


@pytest.mark.usefixtures("here")
def test_a_deadline_of_no_stage_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOURFEED_DEADLINES", '{"reading": 5}')
    assert hourfeed(monkeypatch, "batch") == 2
    assert "there is no stage reading; there are run, read, features" in capsys.readouterr().err


@contextmanager
def hanging(folder: Path, database_url: str, redis_url: str, **given: str) -> Iterator[subprocess.Popen[str]]:
    """A batch that reads a table which somebody else has locked, and holds the lock of runs."""
    fill(database_url, folder)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database_url, "REDIS_URL": redis_url, **given}
    locker = create_engine(database_url)
    try:
        with locker.connect() as connection:
            connection.execute(text("LOCK TABLE feed_data IN ACCESS EXCLUSIVE MODE"))
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            with subprocess.Popen(
                [sys.executable, "-c", SHORT_GRACE, "batch", "--as-of", AS_OF.isoformat()],
                env={**env, "HOURFEED_STATE": str(folder)},
                cwd=folder,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                try:
                    while not connection.execute(waits).scalar():
                        assert process.poll() is None, process.communicate()[1]
                    yield process
                finally:
                    process.kill()
    finally:
        locker.dispose()


def test_a_database_that_never_answers_ends_the_run_by_its_deadline_and_gives_the_lock_back(
    tmp_path: Path, postgres_url: str, redis_url: str, redis_client: Redis
) -> None:
    with hanging(tmp_path, postgres_url, redis_url, HOURFEED_DEADLINES='{"read": 3}') as process:
        assert process.wait(60) == 1
    told = last_run(redis_client)
    assert (told.outcome, told.stage) == ("failed", "read")
    assert told.reason.startswith("the stage read took longer than deadlines.read = 3 seconds allows")
    assert read_record(tmp_path, KEYS) == told
    assert not redis_client.exists(KEYS.lock)


def test_sigterm_ends_a_run_that_hangs_and_gives_the_lock_back(
    tmp_path: Path, postgres_url: str, redis_url: str, redis_client: Redis
) -> None:
    with hanging(tmp_path, postgres_url, redis_url) as process:
        assert redis_client.exists(KEYS.lock)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    told = last_run(redis_client)
    assert (told.outcome, told.stage, told.failures) == ("stopped", "read", 0)
    assert told.reason == "it was stopped by SIGTERM, and published nothing"
    assert not redis_client.exists(KEYS.lock)
