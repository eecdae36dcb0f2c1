"""Runs `hourfeed` commands in forks of a process that has all modules loaded, so that a small batch takes no second.

Each command is a real process, which may be killed. `Nursery` is the client; the module run as a program is the server:
it reads an order a line (JSON) and answers with the pid at once, and with the exit status and output at its end.
"""

import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parent.parent
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}
"""Numba's other threads, GNU OpenMP's, end a process that forks."""
_UNFORKED = "unforked"
_FILE_BYTES = "file_bytes"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, negative where a signal ended it, and what it said."""

    status: int
    said: str

    @property
    def crashed(self) -> bool:
        """Say whether it ended in an error that it did not expect."""
        return "Traceback (most recent call last)" in self.said


class Nursery:
    """Runs one command after the other; each gets the environment of the nursery and what is given to it."""

    def __init__(self) -> None:
        environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def warm_up(self, command: Sequence[str], environment: Mapping[str, str]) -> Ended:
        """Run a command in the nursery itself, so that its forks have compiled all that it needs."""
        self._order(command, environment, **{_UNFORKED: True})
        return Ended(**self._answer())

    def start(self, command: Sequence[str], environment: Mapping[str, str], file_bytes: int | None = None) -> int:
        """Start a command and return its pid; call `wait` before the next. file_bytes : longest file it may write."""
        self._order(command, environment, **{_FILE_BYTES: file_bytes})
        return int(self._answer()["pid"])

    def wait(self) -> Ended:
        """Return how the command that was started last has ended, once it has."""
        return Ended(**self._answer())

    def _order(self, command: Sequence[str], environment: Mapping[str, str], **options: object) -> None:
        order = {"command": list(command), "environment": dict(environment), **options}
        _pipe(self._process.stdin).write(json.dumps(order) + "\n")
        _pipe(self._process.stdin).flush()

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return answer

    def __enter__(self) -> Self:
        """Work until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the nursery."""
        _pipe(self._process.stdin).close()
        if error is not None:
            self._process.terminate()
        self._process.wait()
        _pipe(self._process.stdout).close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("the nursery has no pipes")
    return pipe


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed by accident must not look like an answer

    def answer(**values: object) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    for line in sys.stdin:
        order = json.loads(line)
        if order.get(_UNFORKED):
            with io.StringIO() as output, redirect_stdout(output), redirect_stderr(output):
                answer(status=_run(order), said=output.getvalue())
            continue
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for descriptor in (1, 2):
                os.dup2(writing, descriptor)
            for descriptor in (0, reading, writing, answers.fileno()):
                os.close(descriptor)
            _limit_files(order.get(_FILE_BYTES))
            os._exit(_run(order))
        os.close(writing)
        answer(pid=pid)
        with os.fdopen(reading, errors="replace") as pipe:
            said = pipe.read()  # to its end, which is that of the command
        answer(status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said=said)


def _limit_files(most_bytes: int | None) -> None:
    """Let writes beyond that size fail, as on a full disk: with EFBIG, since Python ignores SIGXFSZ."""
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def _run(order: Mapping[str, Any]) -> int:
    """Run the command line in this process; return its exit status."""
    import traceback

    from cli.main import run  # only in the server

    os.environ.update(order["environment"])
    sys.argv = ["hourfeed", *order["command"]]
    try:
        run()
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(error.code + "\n")
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        status = 1
    else:
        status = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    _serve()
