"""The Procfile way: honcho starts both processes, the worker publishes, and the server becomes ready."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools import BIN, ROOT, run, tool

from demo.parameters import Parameters
from demo.simulate import simulate
from source.engine import open_engine
from source.schema import SourceSchema

PROCFILE = ROOT / "Procfile"
SMALL = {"HOURFEED_RANKER": "popular_24h", "HOURFEED_HOURS": "3"}
WITHIN_S = 180


def test_honcho_takes_the_procfile() -> None:
    assert "web" in run("honcho", "--procfile", PROCFILE, "check")


def status_of(port: int, path: str) -> int | None:
    with (
        contextlib.suppress(OSError),
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as asked,
    ):
        asked.request("GET", path)
        return asked.getresponse().status
    return None


def test_both_processes_start_and_the_server_becomes_ready(tmp_path: Path, redis_url: str) -> None:
    engine = open_engine(None, tmp_path)
    end = datetime.now(UTC) - timedelta(hours=2)
    simulate(Parameters(users=60, posts=50, days=4, end=end), engine, SourceSchema(), tmp_path)
    engine.dispose()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = {**os.environ, **SMALL, "REDIS_URL": redis_url, "HOURFEED_STATE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    env |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOURFEED_SCHEDULE": "0 0 29 2 *"}
    command = [tool("honcho"), "--procfile", str(PROCFILE), "--app-root", str(ROOT), "start", "--port", str(port)]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + WITHIN_S
            while status_of(port, "/readyz") != 200:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
            assert status_of(port, "/post/recommendations/?id=1&limit=5") == 200
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
    assert "stopped by SIGTERM" in (tmp_path / "log").read_text()
