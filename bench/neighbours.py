"""What a reader notices of processes that compute on the same cores, by priority: `python -m bench.neighbours`.

They are to a reader what the scoring of a batch is: always ready to run, and never at rest by themselves. `same` is in
the reader's session, `own` in sessions of their own, which Linux may share the processor out by (sched(7), autogroup).
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import conclude
from bench.publish import make_world, p99_ms, publish_one, reading
from demo.services import hold_redis
from slates.client import connect
from slates.codec import CODEC
from slates.keys import Keys

USERS = 2_000
SPAN_S, TURNS = 4.0, 3
COMPUTING = "import os; {}; print('ready', flush=True)\nwhile True: pass"
PRIORITIES = {
    "normal": "os.nice(0)",
    "nice": "os.nice(10)",
    "idle": "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
}


@contextlib.contextmanager
def computing(processes: int, priority: str, *, own_session: bool) -> Iterator[None]:
    """Let so many processes compute."""
    argv = [sys.executable, "-c", COMPUTING.format(PRIORITIES[priority])]
    with contextlib.ExitStack() as held:
        for _ in range(processes):
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=own_session)
            held.enter_context(process)
            held.callback(process.kill)
            if process.stdout is None or not process.stdout.readline():
                msg = f"no process may compute with the priority {priority}"
                raise RuntimeError(msg)
        yield


def measure(url: str, folder: Path) -> dict[str, float]:
    """Return the reader's p99, the median of turns: alone, and beside a process on each core."""
    cores = len(os.sched_getaffinity(0))
    cases = {"alone": (0, "normal", False), "a_core_free.own": (cores - 1, "normal", True)}
    cases |= {f"{name}.{'own' if own else 'same'}": (cores, name, own) for name in PRIORITIES for own in (False, True)}
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(TURNS):
        for name, (processes, priority, own) in cases.items():
            out = folder / "reader.txt"
            with reading(url, USERS, out), computing(processes, priority, own_session=own):
                begun = time.perf_counter()
                time.sleep(SPAN_S)  # the reader works: what is measured
                found[name].append(p99_ms(out, begun, time.perf_counter()))
    return {f"{name}.reader_p99_ms": round(sorted(of_turns)[TURNS // 2], 3) for name, of_turns in found.items()}


def main() -> int:
    """Run the benchmark; nothing is asked of it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        hold_redis(Path(folder)) as service,
        contextlib.closing(connect(service.url, timeout_s=60)) as redis,
    ):
        publish_one(redis, Keys(), make_world(USERS), CODEC)
        return conclude("neighbours", measure(service.url, Path(folder)), {})


if __name__ == "__main__":
    sys.exit(main())
