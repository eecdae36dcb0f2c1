"""Runs a command to its end and watches what it takes: seconds, processor time, and memory of all its processes."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.errors import BenchError

_EVERY_S = 0.05
_PROC = Path("/proc")


@dataclass(frozen=True)
class Taken:
    """What a command took.

    cpu_s : of all its processes that it waited for. peak_bytes : the most that its processes held together, or the
    largest of them alone where that says more. memory : (seconds since the start, bytes), as looked at; empty where
    the system does not tell. out, err : what it printed.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    out: str
    err: str
    memory: list[tuple[float, int]] = field(default_factory=list, repr=False)


def watch(argv: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> Taken:
    """Run the command in `folder`; raise BenchError with its last words when it fails."""
    memory: list[tuple[float, int]] = []
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(argv, env=dict(environment), cwd=folder, stdout=out, stderr=err)
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                wall_s = time.perf_counter() - begun
                if pid:
                    break
                resident = _resident(process.pid) if _PROC.is_dir() else 0
                if resident:  # nothing is told of one that has just ended
                    memory.append((wall_s, resident))
                time.sleep(_EVERY_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        printed, told = _all_of(out), _all_of(err)
    if process.returncode:
        last = "\n".join((printed + told).splitlines()[-10:])
        msg = f"{' '.join(map(str, argv))} ended with exit status {process.returncode}:\n{last}"
        raise BenchError(msg)
    # What the system says at the end counts the moment before exec too, when the child was as large as this process.
    alone = usage.ru_maxrss * 1024
    seen = [size for _, size in memory]
    peak = max([*seen, alone] if not seen or alone > _high_water(os.getpid()) else seen)
    return Taken(wall_s, usage.ru_utime + usage.ru_stime, peak, printed, told, memory)


def _all_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _high_water(pid: int) -> int:
    """Return the most bytes in memory that a process has had."""
    lines = (_PROC / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _resident(root: int) -> int:
    """Return the bytes in memory of a process and of all that descend from it."""
    parents, sizes = dict[int, int](), dict[int, int]()
    page = os.sysconf("SC_PAGE_SIZE")
    for path in _PROC.iterdir():
        if not path.name.isdigit():
            continue
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents[int(path.name)] = int(state[1])
        sizes[int(path.name)] = int(state[21]) * page
    family = {root}
    for pid in sorted(parents):  # a child nearly always has the larger number; one that has not is met next time
        if parents[pid] in family:
            family.add(pid)
    return sum(sizes.get(pid, 0) for pid in family)
