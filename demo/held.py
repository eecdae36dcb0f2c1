"""A server of a folder, shared by all processes that ask for it, and stopped when none of them is left.

What the embedded Redis stands on; the tests run Postgres with it. See `demo.supervisor` for how it ends.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from demo import supervisor
from demo.errors import DemoError

POLL_S = 0.02
STARTS = 3


@dataclass(frozen=True)
class Launch:
    """How to start a server on the port that was found: the command, and the URL at which it will answer."""

    argv: tuple[str, ...]
    url: str
    cwd: str
    stop_signal: int = signal.SIGTERM
    user: tuple[int, int] | None = None  # uid and gid to run as, when not our own


@dataclass
class HeldServer:
    """A running server, held until `close` or the end of this process and of all that it forked."""

    url: str
    folder: Path
    _clients_lock: int | None = field(repr=False)

    def close(self) -> None:
        """Let go. The server stops when nobody holds it any more; `is_running` tells when it has."""
        if self._clients_lock is not None:
            os.close(self._clients_lock)  # not LOCK_UN, which would let go for forked workers too
            self._clients_lock = None

    def __enter__(self) -> Self:
        """Hold on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self.close()


def hold_server(
    folder: Path, launch: Callable[[int], Launch], ready: Callable[[str], bool], *, timeout_s: float = 60.0
) -> HeldServer:
    """Hold the server of `folder`, starting it by `launch(port)` when it does not run; return once `ready(url)`.

    Raises DemoError when it ends at once `STARTS` times, or is not ready within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    clients = None
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        clients = _locked(folder / "clients.lock", fcntl.LOCK_SH, deadline)
        start = _locked(folder / "start.lock", fcntl.LOCK_EX, deadline)
        try:
            return HeldServer(_url_when_ready(folder, launch, ready, deadline), folder, clients)
        finally:
            os.close(start)
    except BaseException as error:
        if clients is not None:
            os.close(clients)
        if isinstance(error, OSError):
            msg = f"the folder {folder} cannot hold a server ({error}); name another one by HOURFEED_STATE"
            raise DemoError(msg) from error
        raise


def is_running(folder: Path) -> bool:
    """Tell whether a server of `folder` is left: supervisor and server hold `server.lock` as long as they live."""
    try:
        lock = os.open(folder / "server.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _locked(path: Path, kind: int, deadline: float) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                msg = f"another process has kept {path} for too long: end the hourfeed processes that use this folder"
                raise DemoError(msg) from None
            time.sleep(POLL_S)
        except BaseException:
            os.close(lock)
            raise
        else:
            return lock


def _url_when_ready(
    folder: Path, launch: Callable[[int], Launch], ready: Callable[[str], bool], deadline: float
) -> str:
    starts = 0
    while time.monotonic() < deadline:
        # The lock first: without it the endpoint is a left-over, and its port may be a stranger's by now.
        if is_running(folder):
            url = _endpoint(folder)
            if url is not None and ready(url):
                return url
            time.sleep(POLL_S)
        elif starts == STARTS:
            msg = f"the server in {folder} ended {STARTS} times right after its start. {_end_of_log(folder)}"
            raise DemoError(msg)
        else:
            starts += 1
            _start_supervisor(folder, launch(_free_port(folder, starts)), deadline)
    msg = f"the server in {folder} did not answer in time. {_end_of_log(folder)}"
    raise DemoError(msg)


def _endpoint(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "endpoint.json").read_text())["url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _end_of_log(folder: Path) -> str:
    try:
        lines = (folder / "server.log").read_text(errors="replace").splitlines()[-3:]
    except FileNotFoundError:
        lines = []
    return f"Its log, {folder / 'server.log'}, ends: {' / '.join(lines) or '(nothing)'}"


def _free_port(folder: Path, start: int) -> int:
    """Return the last server's port if it is free, so that clients that outlived it find its successor."""
    last = urlsplit(_endpoint(folder) or "").port if start == 1 else None
    for port in (last or 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    msg = "no port is free on 127.0.0.1"
    raise DemoError(msg)


def _start_supervisor(folder: Path, launch: Launch, deadline: float) -> None:
    specification = json.dumps({**asdict(launch), "folder": str(folder)})
    process = subprocess.Popen(  # noqa: S603 - our own file
        # By its path and isolated: whatever lies in the working folder, this is what runs.
        [sys.executable, "-I", "-S", supervisor.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        text=True,
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(specification, timeout=max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        answer = "no answer"
    if answer not in {supervisor.STARTED, supervisor.BUSY}:
        msg = f"the server {launch.argv[0]} could not be started in {folder}: {answer.strip()}"
        raise DemoError(msg)
