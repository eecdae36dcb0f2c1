"""Keeps one server alive for as long as any client is, and not a moment longer.

Started by `demo.held`, detached from the client's terminal. The kernel does the book-keeping, so it holds
however a process ends, SIGKILL included:

- Every client holds a shared flock on `clients.lock`. The supervisor waits for the exclusive one, which it is given
  when the last client has ended; then it stops the server.
- The server gets its stop signal from the kernel when the supervisor dies (PR_SET_PDEATHSIG).
- Supervisor and server both hold `server.lock`, so it is free only when no server is left.

macOS has no PR_SET_PDEATHSIG: there a server outlives a supervisor that was killed by SIGKILL, and keeps `server.lock`;
the next client finds that server and uses it.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTED = "started\n"
BUSY = "another server has just been started in this folder\n"
STOP_WITHIN_S = 10.0
PR_SET_PDEATHSIG = 1


def _die_with_parent(stop_signal: int) -> Callable[[], None]:
    """Return what the server's process runs before exec (and after setuid, which would clear the setting)."""
    supervisor = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def before_exec() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, stop_signal)
            if os.getppid() != supervisor:  # it died before the setting was in force
                os._exit(1)

    return before_exec


def _took(lock: int, within_s: float = 0.5) -> bool:
    """Take the lock; keep trying for a moment, because whoever asks whether a server runs holds it for an instant."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False


def _start(spec: dict[str, Any], server_lock: int, log: int) -> subprocess.Popen[bytes]:
    user, group = spec["user"] or (None, None)
    return subprocess.Popen(  # noqa: S603 - the command is ours, from demo.held
        spec["argv"],
        cwd=spec["cwd"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(server_lock,),
        preexec_fn=_die_with_parent(spec["stop_signal"]),  # noqa: PLW1509 - no thread runs yet
        user=user,
        group=group,
        extra_groups=None if user is None else [],
    )


def _write_endpoint(folder: Path, url: str, pid: int) -> None:
    new = folder / "endpoint.new"
    new.write_text(json.dumps({"url": url, "pid": pid, "supervisor": os.getpid()}) + "\n")
    new.replace(folder / "endpoint.json")


def supervise(spec: dict[str, Any], say: Callable[[str], None]) -> None:
    """Start the server of `spec`, say `started`, and return when it has ended: by itself or with its last client."""
    folder = Path(spec["folder"])
    server_lock = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _took(server_lock):
        say(BUSY)
        return
    (folder / "endpoint.json").unlink(missing_ok=True)
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    server = _start(spec, server_lock, log)
    _write_endpoint(folder, spec["url"], server.pid)

    def stop(*_: object) -> None:
        server.send_signal(spec["stop_signal"])
        last_resort = threading.Timer(STOP_WITHIN_S, server.kill)
        last_resort.daemon = True
        last_resort.start()

    def stop_after_the_last_client() -> None:
        clients = os.open(folder / "clients.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(clients, fcntl.LOCK_EX)  # kept to the end of the process: a new client waits for a new server
        stop()

    # Only now: a handler inherited by the server's process would swallow the kernel's signal before exec.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    threading.Thread(target=stop_after_the_last_client, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # that client is gone; another may be waiting for the same server
        say(STARTED)
    os.dup2(log, sys.stderr.fileno())
    os.dup2(log, sys.stdout.fileno())  # closes the client's pipe
    server.wait()


def main() -> None:
    """Read the specification (JSON) from standard input; talk to the client by standard output until started."""
    if os.fork() != 0:
        os._exit(0)  # the client reaps this half at once; init gets the other
    os.umask(0o077)

    def say(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        supervise(json.load(sys.stdin), say)
    except (OSError, subprocess.SubprocessError) as error:
        say(f"{error}\n")


if __name__ == "__main__":
    main()
