"""A run that is killed, wherever it is, leaves a log from which the next one gets it right."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from event_table import BEGIN_S, HOUR_S, change, create_table, insert, read, said

from source.engine import open_engine

RUNS = 40
HERE = Path(__file__).parent


def test_a_run_killed_at_any_moment_leaves_no_log_that_lies(sqlite_url: str, tmp_path: Path) -> None:
    engine = open_engine(sqlite_url, tmp_path)
    create_table(engine)
    rng = np.random.default_rng(8)
    newest_s, killed, took_s = BEGIN_S + 72 * HOUR_S, 0, 0.0
    insert(engine, rng, rng.uniform(BEGIN_S, newest_s, 1500))
    arguments = [sys.executable, str(HERE / "forked_readers.py"), sqlite_url, str(tmp_path)]
    paths = {"PYTHONPATH": f"{HERE.parents[2]}:{HERE}"}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | paths
    ) as readers:
        assert readers.stdin is not None
        assert readers.stdout is not None
        assert readers.stdout.readline() == "ready\n"
        for step in range(RUNS):
            ends_itself = step % 5 == 0  # and tells how long a run takes
            begun = time.perf_counter()
            readers.stdin.write("\n" if ends_itself else f"{rng.uniform(0, took_s)}\n")
            readers.stdin.flush()
            status = int(readers.stdout.readline())
            if ends_itself:
                assert status == 0
                took_s = time.perf_counter() - begun
            killed += status == signal.SIGKILL
            if step % 4 == 0:
                assert said(read(engine, tmp_path / "log")) == said(read(engine, tmp_path / f"fresh {step}"))
            newest_s = change(engine, rng, newest_s)
        readers.stdin.close()
    assert said(read(engine, tmp_path / "log")) == said(read(engine, tmp_path / "fresh"))
    left = {path.name for path in (tmp_path / "log").iterdir() if path.suffix not in {".events", ".ids", ".bad"}}
    assert left == {"manifest.json", "lock"}
    assert killed > RUNS // 4
    engine.dispose()
