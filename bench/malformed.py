"""Files of strangers: `python -m bench.malformed` breaks 10,000 valid files and loads each by the product's own code.

CSV (plain and gzip), Parquet, models and exported generations are damaged by seeded mutations (bench/mutations.py and
those beside it), and read in processes of their own (bench/malformed_kinds.py). Each file must end as loaded, as loaded
with rows set aside, or refused by an error of ours that says why. Counted beside: crashes (the process died), hangs (no
answer after 20 s of computing) and what nobody explains (another exception, or counts that do not add up); each with
the seed that makes the file again: `python -m bench.malformed --only csv --seed 17 --files 1`.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import conclude, read_targets
from cli.memory import bounded_memory

KINDS = ("csv", "csv.gz", "parquet", "model", "export")
FILES = 10_000
HANG_S = 20.0
"""Of computing; or ten times as long on the clock, on a machine that does other things beside."""
READY_S = 300.0
"""For the first file of a process, which imports libraries and compiles loops."""
_MEMORY = 4 << 30
_BAD = ("crash", "hang", "unexplained")
OUTCOMES = ("loaded", "quarantined", "refused", *_BAD)

Case = tuple[str, int]
"""Kind and seed of a file."""


@dataclass
class Outcomes:
    """How files ended. by_kind : counts of (kind, outcome). reasons : of (kind, reason). bad : with the seed."""

    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def add(self, case: Case, outcome: str, reason: str) -> None:
        """Count a file."""
        kind, seed = case
        self.by_kind[kind, outcome] += 1
        self.reasons[kind, f"{outcome}: {reason[:100]}"] += 1
        if outcome in _BAD:
            self.bad.append(f"{outcome}: --only {kind} --seed {seed}: {reason[:1000]}")

    @property
    def total(self) -> int:
        """Return the number of files."""
        return self.by_kind.total()


Work = Callable[["Connection[tuple[str, str], Case]", Path], None]
"""What a process does: receive cases, and send for each an outcome and its reason, until nobody asks any more."""


def run(kinds: Sequence[str], files: int, first_seed: int, workers: int, folder: Path) -> Outcomes:
    """Break `files` files, as many of each kind, and load them; `folder` is for what that needs and leaves."""
    from bench.malformed_kinds import make_originals  # not at the top: every process would load all of the batch

    make_originals(folder, kinds)
    cases = ((kinds[place % len(kinds)], first_seed + place // len(kinds)) for place in range(files))
    return drive(cases, workers, folder, load_all)


def drive(
    cases: Iterator[Case], workers: int, folder: Path, work: Work, hang_s: float = HANG_S, ready_s: float = READY_S
) -> Outcomes:
    """Hand cases to so many processes, and count how they end; a process that dies or hangs is replaced."""
    outcomes = Outcomes()
    pool = [_Worker(folder, work, hang_s, ready_s) for _ in range(workers)]
    try:
        for worker in pool:
            _next(worker, cases)
        while busy := [worker for worker in pool if worker.case is not None]:
            first = min(worker.deadline for worker in busy)
            ready = wait([worker.pipe for worker in busy], max(0.0, first - time.monotonic()))
            for worker in busy:
                found = worker.found(is_ready=worker.pipe in ready)
                if found is not None and worker.case is not None:
                    outcomes.add(worker.case, *found)
                    _next(worker, cases)
    finally:
        for worker in pool:
            worker.end()
    return outcomes


class _Worker:
    """A process that is given one file after the other."""

    def __init__(self, folder: Path, work: Work, hang_s: float, ready_s: float) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._folder, self._work, self._hang_s, self._ready_s = folder, work, hang_s, ready_s
        self.case: Case | None = None
        self.deadline = self._given_at = self._cpu_before_s = 0.0
        self._start()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        self.pipe: Connection[Case, tuple[str, str]] = ours
        self._process = self._context.Process(target=self._work, args=(theirs, self._folder), daemon=True)
        self._process.start()
        theirs.close()
        self._is_new = True

    def give(self, case: Case) -> None:
        """Hand it a file."""
        self.case = case
        self._given_at, self._cpu_before_s = time.monotonic(), _cpu_s(self._process.pid)
        self.deadline = self._given_at + (self._ready_s if self._is_new else self._hang_s)
        self._is_new = False
        self.pipe.send(case)

    def found(self, *, is_ready: bool) -> tuple[str, str] | None:
        """Return the outcome and the reason of its file, None while it is at it."""
        if is_ready:
            try:
                return self.pipe.recv()
            except (EOFError, OSError):
                code = self.end()
                self._start()
                return "crash", f"the process ended with {code}"
        now = time.monotonic()
        if now <= self.deadline:
            return None
        waited_s, computed_s = now - self._given_at, _cpu_s(self._process.pid) - self._cpu_before_s
        if computed_s < self._hang_s and waited_s < 10 * self._hang_s:
            self.deadline = now + 1  # it has not had its time
            return None
        self.end()
        self._start()
        return "hang", f"no answer after {waited_s:.0f} s, {computed_s:.0f} of them computing"

    def end(self) -> int | None:
        """End the process, and return its exit code."""
        process = self._process
        self.pipe.close()
        process.join(1.0)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode


def _cpu_s(pid: int | None) -> float:
    """Return the seconds that a process has computed; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _next(worker: _Worker, cases: Iterator[Case]) -> None:
    case = next(cases, None)
    worker.case = None
    if case is not None:
        worker.give(case)


def load_all(pipe: "Connection[tuple[str, str], Case]", folder: Path) -> None:
    """Load what is asked for, until nobody asks any more."""
    from bench.malformed_kinds import open_kind

    known = {kind: open_kind(kind, folder) for kind in KINDS if (folder / kind).exists()}
    with TemporaryDirectory(dir=folder) as own, bounded_memory(_MEMORY):
        while True:
            try:
                kind, seed = pipe.recv()
            except EOFError:
                return
            pipe.send(known[kind].outcome(seed, Path(own)))


def table(outcomes: Outcomes) -> str:
    """Write the counts by kind, and the reasons that were given most often."""
    lines = [f"{'kind':<10}" + "".join(f"{name:>13}" for name in OUTCOMES)]
    for kind in KINDS:
        counts = [outcomes.by_kind[kind, name] for name in OUTCOMES]
        if sum(counts):
            lines.append(f"{kind:<10}" + "".join(f"{count:>13,}" for count in counts))
    return "\n".join(lines)


def main() -> int:
    """Run, print the table and the figures, and fail where one misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first file of each kind")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reasons", action="store_true", help="print how often each reason was given")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        outcomes = run(arguments.only, arguments.files, arguments.seed, arguments.workers, Path(folder))
    print(table(outcomes))
    if arguments.reasons:
        for (kind, reason), count in outcomes.reasons.most_common():
            print(f"{count:>7,}  {kind}: {reason}")
    for bad in outcomes.bad[:50]:
        print(bad, file=sys.stderr)
    totals = {name: sum(outcomes.by_kind[kind, name] for kind in KINDS) for name in OUTCOMES}
    figures = {"files": outcomes.total, **totals, "seconds": round(time.monotonic() - begun, 1)}
    targets = read_targets("malformed")
    if arguments.files < FILES or len(arguments.only) < len(KINDS):  # a part, to try or to look at one file
        print(f"\n{outcomes.total:,} files; the figures are those of all {FILES:,} alone")
        return 1 if any(totals[name] for name in _BAD) else 0
    return conclude("malformed", figures, targets)


if __name__ == "__main__":
    sys.exit(main())
