"""A run that is watched over: it ends at a safe point when it may not go on, and by force where it comes to none."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from batch.deadline import DeadlineError, EndedError, StoppedError, Watch, ended_by_signals

ROOT = Path(__file__).resolve().parents[2]


def until_ended(watch: Watch) -> EndedError:
    """Come to safe points until one of them ends the run."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            watch.check()
        except EndedError as error:
            return error
        time.sleep(0.01)
    pytest.fail("nothing ended the run")


def test_a_stage_that_outlasts_its_deadline_ends_at_the_next_safe_point() -> None:
    with Watch({"read": 0.05, "train": 60}) as watch:
        watch.enter("read")
        error = until_ended(watch)
        with pytest.raises(DeadlineError):
            watch.enter("train")
    assert "the stage read took longer than deadlines.read = 0.05 seconds allows" in str(error)
    assert error.status == 1


def test_a_run_that_outlasts_its_deadline_says_in_which_stage() -> None:
    with Watch({"run": 0.05, "train": 60}) as watch:
        watch.enter("train")
        error = until_ended(watch)
    assert str(error).startswith("the run took longer than deadlines.run = 0.05 seconds allows, in the stage train")


def test_each_stage_has_a_time_of_its_own() -> None:
    """Given a stage that would be too long with the one before, when each is in time, then nothing ends the run."""
    with Watch({"read": 5, "train": 5}) as watch:
        watch.enter("read")
        watch._stage_begun -= 4.8
        watch.enter("train")
        over = time.monotonic() + 0.4
        while time.monotonic() < over:
            watch.check()


def test_a_run_that_hangs_is_ended_by_force_after_its_last_words() -> None:
    said: list[str] = []
    ended = threading.Event()
    statuses: list[int] = []

    def end_process(status: int) -> None:
        statuses.append(status)
        ended.set()

    def fails(_: EndedError) -> None:
        raise OSError("away")

    with Watch({"read": 0.02}, grace_s=0.05, end_process=end_process) as watch:
        watch.last_words += [fails, lambda error: said.append(str(error))]
        watch.enter("read")
        assert ended.wait(20)
    assert statuses == [1]
    assert said[0].startswith("the stage read took longer")


def test_asked_a_second_time_it_does_not_wait_for_a_safe_point() -> None:
    ended = threading.Event()
    with Watch(grace_s=600, end_process=lambda _: ended.set()) as watch:
        watch.end(StoppedError(signal.SIGINT))
        assert not ended.is_set()
        watch.end(StoppedError(signal.SIGINT))
        assert ended.wait(20)


HANGS_IN_C = """
import sqlite3, sys, threading
from batch.deadline import Watch, ended_by_signals
with Watch(grace_s=0.2) as watch, ended_by_signals(watch):
    watch.last_words.append(lambda error: print(error, flush=True))
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    print("begins", flush=True)
    sqlite3.connect(":memory:").execute(endless).fetchall()
"""


def test_sigterm_ends_a_process_that_hangs_in_a_call_to_a_database() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGS_IN_C], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begins\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "it was stopped by SIGTERM, and published nothing\n"
            assert process.wait(20) == 128 + signal.SIGTERM
        finally:
            process.kill()


def test_a_signal_ends_the_run_at_a_safe_point_and_its_handlers_go_with_the_block() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Watch() as watch, ended_by_signals(watch):
        signal.raise_signal(signal.SIGTERM)
        error = until_ended(watch)
    assert isinstance(error, StoppedError)
    assert error.status == 143
    assert signal.getsignal(signal.SIGTERM) == before
