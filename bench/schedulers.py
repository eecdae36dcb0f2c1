"""Two schedulers on one Redis for an hour of ticks, while either is paused for longer than its lock lives.

    python -m bench.schedulers [--ticks 60] [--every-s 2]

A tick a minute of the hour, a minute lasting two seconds. Each scheduler is a process with the product's own loop and
batch (bench.one_scheduler). Pauses (SIGSTOP, SIGCONT) come at any moment of a run, most of them while it holds the
lock, and outlast the lock, so that the other takes its turn. What Redis is told is heard by MONITOR, so that no flip is
missed: `flips.out_of_order` counts flips to the generation of an older run. Writes bench/results/schedulers.json; exit
status 1 when a target of bench/targets.toml is missed.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from redis import Redis

from bench.errors import BenchError
from bench.figures import conclude, read_targets
from bench.service import forget_own_settings
from bench.sources import ROOT
from demo.parameters import Parameters
from demo.services import hold_redis
from demo.simulate import simulate
from slates.client import connect
from slates.keys import Keys
from source.engine import open_engine
from source.schema import SourceSchema

KEYS = Keys()
LOCK_TTL_S = 1
_PAUSE_S = (1.5, 3.0)
_BETWEEN_S = (0.5, 3.0)
_WITHIN_A_RUN_S = 0.25
_OVER = "the schedulers have ended"
_LIVE = re.compile(rf"HSET {KEYS.generation('')}(\S+) id \S+ seq (\d+) state live ")
_FLIP = re.compile(rf"SET {KEYS.current} (\S+)$")


@dataclass
class Flips:
    """Hears all that Redis is told, and keeps the runs (seq) whose generations went live, in their order."""

    url: str
    seqs: list[int] = field(default_factory=list)
    _hears: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """Listen until somebody says that it is over."""
        seq_of: dict[str, int] = {}
        with connect(self.url, timeout_s=600) as redis, redis.monitor() as monitor:
            self._hears.set()
            for heard in monitor.listen():
                command = str(heard["command"])
                if live := _LIVE.match(command):
                    seq_of[live[1]] = int(live[2])
                elif flip := _FLIP.match(command):
                    self.seqs.append(seq_of[flip[1]])
                elif command == f"ECHO {_OVER}":
                    return

    def start(self) -> threading.Thread:
        """Listen in a thread, and return once it hears."""
        thread = threading.Thread(target=self.listen, daemon=True)
        thread.start()
        self._hears.wait()
        return thread

    @property
    def out_of_order(self) -> int:
        """Count flips to a run that is not newer than the one before."""
        return sum(later <= earlier for earlier, later in zip(self.seqs, self.seqs[1:], strict=False))


def schedulers(ticks: int, every_s: int, seed: int = 0) -> dict[str, float]:
    """Run two schedulers over so many ticks, and return the figures."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory(prefix="hourfeed-schedulers-") as name:
        folder = Path(name)
        database = _network(folder)
        with hold_redis(folder / "redis") as held, connect(held.url) as redis:
            flips = Flips(held.url)
            listening = flips.start()
            processes = [_start(folder, name, database, held.url, every_s) for name in ("a", "b")]
            for process in processes:
                cast("Any", process.stdout).readline()  # loaded, and ready
            begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
            end = begin + timedelta(seconds=ticks * every_s)
            told = [_Told(process, begin, end) for process in processes]
            pauses = _pause_until(end, processes, redis, chance)
            runs = [one.lines() for one in told]
            redis.echo(_OVER)
            listening.join()
    return _figures(ticks, runs, flips, pauses)


def _network(folder: Path) -> str:
    url = f"sqlite:///{folder / 'hourfeed.db'}"
    engine = open_engine(url, folder)
    simulate(Parameters(users=60, posts=80, days=4, end=datetime.now(UTC)), engine, SourceSchema(), folder)
    engine.dispose()
    return url


def _start(folder: Path, name: str, database: str, redis_url: str, every_s: int) -> subprocess.Popen[str]:
    given = {
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "HOURFEED_STATE": str(folder / name),
        "HOURFEED_RANKER": "item_knn_recency",
        "HOURFEED_HOURS": "2",
        "HOURFEED_LOCK_TTL_S": str(LOCK_TTL_S),
    }
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT), **given}
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.one_scheduler", str(every_s)],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


class _Told:
    """Has a scheduler begin, and reads what it says, as it says it."""

    def __init__(self, process: subprocess.Popen[str], begin: datetime, end: datetime) -> None:
        self._process = process
        with cast("Any", process.stdin) as stdin:
            stdin.write(f"{begin.isoformat()} {end.isoformat()}\n")
        self._lines: list[dict[str, str]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in cast("Any", self._process.stdout):
            self._lines.append(json.loads(line))

    def lines(self) -> list[dict[str, str]]:
        """Return all runs, once the process has ended; raise BenchError where it broke off."""
        self._thread.join()
        if self._process.wait() != 0:
            raise BenchError(f"a scheduler ended with exit status {self._process.returncode}")
        cast("Any", self._process.stdout).close()
        return self._lines


def _pause_until(
    end: datetime, processes: Sequence[subprocess.Popen[str]], redis: Redis, chance: random.Random
) -> Counter[str]:
    """Pause one process after the other, for longer than the lock lives, until the last tick; count the pauses."""
    pauses = Counter[str]()
    while (left_s := (end - datetime.now(UTC)).total_seconds()) > _PAUSE_S[1]:
        time.sleep(chance.uniform(*_BETWEEN_S))
        wants_holder = chance.random() < 0.8
        holder = _await_holder(redis, min(left_s, 5.0)) if wants_holder else None
        paused = next((process for process in processes if process.pid == holder), chance.choice(processes))
        if holder:
            time.sleep(chance.uniform(0, _WITHIN_A_RUN_S))
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            pauses["n"] += 1
            pauses["holding"] += _holder(redis) == paused.pid
            time.sleep(chance.uniform(*_PAUSE_S))
        finally:
            os.kill(paused.pid, signal.SIGCONT)
    return pauses


def _await_holder(redis: Redis, within_s: float) -> int | None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holder := _holder(redis):
            return holder
        time.sleep(0.005)
    return None


def _holder(redis: Redis) -> int | None:
    value = cast("bytes | None", redis.get(KEYS.lock))
    return int(json.loads(value)["pid"]) if value else None


def _figures(ticks: int, runs: Sequence[list[dict[str, str]]], flips: Flips, pauses: Counter[str]) -> dict[str, float]:
    all_runs = [run for of_one in runs for run in of_one]
    outcomes = Counter(run["outcome"] for run in all_runs)
    lost = [run for run in all_runs if run["outcome"] == "failed" and run["reason"].startswith("run ")]
    published = Counter(run["tick"] for run in all_runs if run["outcome"] == "published")
    for run in all_runs:
        if run["outcome"] == "failed" and run not in lost:
            print("failed:", run["reason"])
    return {
        "ticks.n": ticks,
        "ticks.published": len(published),
        "ticks.published_twice": sum(count > 1 for count in published.values()),
        "runs.n": len(all_runs),
        **{f"runs.{outcome}": outcomes[outcome] for outcome in ("published", "skipped", "failed")},
        "runs.turn_lost": len(lost),
        **{f"runs.published_by_{name}": _published(of_one) for name, of_one in zip("ab", runs, strict=True)},
        "pauses.n": pauses["n"],
        "pauses.holding": pauses["holding"],
        "flips.n": len(flips.seqs),
        "flips.out_of_order": flips.out_of_order,
    }


def _published(runs: Sequence[dict[str, str]]) -> int:
    return sum(run["outcome"] == "published" for run in runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ticks", type=int, default=60)
    parser.add_argument("--every-s", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    forget_own_settings()
    return conclude("schedulers", schedulers(given.ticks, given.every_s, given.seed), read_targets("schedulers"))


if __name__ == "__main__":
    sys.exit(main())
