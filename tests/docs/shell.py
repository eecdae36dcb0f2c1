"""Runs the shell blocks of a page as a reader would paste them: one after the other, in one shell, in one folder.

Three commands are not quite what they are for a reader. `make` says whether it knows the target, and does nothing.
What runs until Ctrl-C (`hourfeed serve` and the like) goes to the background as soon as it is up; the next one of its
kind ends it, as a reader would have to. `redis-cli` is a stand-in, since the servers of tests come without it.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fences import ROOT

WITHIN_S = 400

REDIS_CLI = """\
#!{python}
import os, sys
from redis import Redis
client = Redis.from_url(os.environ["REDIS_CLI_URL"], protocol=2)
connection = client.connection_pool.get_connection()
connection.send_command(*sys.argv[1:])
reply = connection.read_response()
for part in reply if isinstance(reply, list) else [reply]:
    print(part.decode() if isinstance(part, bytes) else "" if part is None else part)
connection.disconnect()
"""
"""Prints like redis-cli does into a pipe: one element of an array a line, nothing for a missing value."""

_HOURFEED = """\
#!/bin/sh
case "$1" in serve|demo) up='^curl ';; schedule|drain) up='.';; *) exec {hourfeed} "$@";; esac
case "$*" in *--once*|*--help*) exec {hourfeed} "$@";; esac
running={folder}/running.$( [ "$1" = demo ] && echo serve || echo "$1" )
if [ -e "$running" ]; then
  kill "$(cat "$running")"
  while kill -0 "$(cat "$running")" 2>/dev/null; do sleep 0.05; done
fi
log=$(mktemp {folder}/log.XXXXXX)
{hourfeed} "$@" > "$log" 2>&1 &
echo $! > "$running"
until grep -q "$up" "$log"; do
  kill -0 $! 2>/dev/null || {{ cat "$log" >&2; exit 1; }}
  sleep 0.05
done
"""
_MAKE = '#!/bin/sh\nexec {make} --dry-run -C {root} "$@" > /dev/null\n'
_PYTHON = '#!/bin/sh\nexec {python} "$@"\n'


@dataclass(frozen=True)
class Place:
    """A folder as a reader has it: the checkout's files, and the programs in `.venv/bin`."""

    folder: Path
    variables: Mapping[str, str]

    def run(self, blocks: Sequence[str]) -> str:
        """Run blocks in one shell, which ends at the first command that fails, and return what they print."""
        script = "trap 'echo \"this failed: $BASH_COMMAND\" >&2' ERR\n" + "\n".join(blocks)
        with (self.folder / "errors").open("w+") as errors:
            process = subprocess.Popen(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=self.folder,
                env=dict(self.variables),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            try:
                printed, _ = process.communicate(timeout=WITHIN_S)
            finally:
                self._end(process.pid)
            errors.seek(0)
            assert process.returncode == 0, f"{printed}\n{errors.read()}"
        return printed

    def _end(self, group: int) -> None:
        """End what still runs in the background."""
        for log in self.folder.glob("running.*"):
            log.unlink()
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return


def make_place(folder: Path, **variables: str) -> Place:
    """Make a folder like a checkout, with nothing in the environment but what a shell needs and `variables`."""
    programs, tools = folder / ".venv/bin", folder / "tools"
    programs.mkdir(parents=True)
    tools.mkdir()
    own = Path(sys.executable).parent
    _write(programs / "hourfeed", _HOURFEED.format(hourfeed=own / "hourfeed", folder=folder))
    _write(programs / "python", _PYTHON.format(python=sys.executable))
    _write(tools / "redis-cli", REDIS_CLI.format(python=sys.executable))
    _write(tools / "make", _MAKE.format(make=which("make"), root=ROOT))
    for name in ("deploy", "docs", "requirements.lock", "requirements-extras.lock"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")  # a refusal is a failure
    path = f"{programs}:{tools}:/usr/local/bin:/usr/bin:/bin"
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    single = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    return Place(folder, {**kept, **single, "HOME": str(folder), "PATH": path, **variables})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def which(program: str) -> str:
    """Return a program that Debian has; without it skip the test, and fail in CI."""
    for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
        if os.access(f"{folder}/{program}", os.X_OK):
            return f"{folder}/{program}"
    reason = f"there is no {program}: apt-get install {program}"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason)


def _write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)
