"""The small form of `python -m bench.malformed`, and that it would see a crash and a hang."""

import os
import signal
from pathlib import Path
from typing import Any

from bench.malformed import KINDS, OUTCOMES, drive, run


def test_two_hundred_broken_files_are_each_loaded_set_aside_or_refused(tmp_path: Path) -> None:
    outcomes = run(KINDS, 200, 100_000, 1, tmp_path)
    assert outcomes.bad == []
    assert outcomes.total == 200
    for kind in KINDS:
        assert sum(outcomes.by_kind[kind, name] for name in OUTCOMES) == 200 // len(KINDS)
        assert outcomes.by_kind[kind, "refused"] > 0
        assert outcomes.by_kind[kind, "loaded"] > 0


def _dies(pipe: Any, folder: Path) -> None:
    while True:
        _, seed = pipe.recv()
        if seed == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        if seed == 1:
            signal.pause()
        pipe.send(("loaded", ""))


def test_a_process_that_dies_or_hangs_is_counted_and_replaced(tmp_path: Path) -> None:
    cases = iter([("csv", seed) for seed in (2, 0, 2, 1, 2)])
    outcomes = drive(cases, 1, tmp_path, _dies, hang_s=0.2)
    assert dict(outcomes.by_kind) == {("csv", "crash"): 1, ("csv", "hang"): 1, ("csv", "loaded"): 3}
    crash, hang = outcomes.bad
    assert crash == "crash: --only csv --seed 0: the process ended with -11"
    assert hang.startswith("hang: --only csv --seed 1: no answer after ")
