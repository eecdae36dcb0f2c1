"""`hourfeed demo`, whole: from nothing to an answered request, with embedded services alone."""

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from demo.held import is_running

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_demo(folder: Path) -> tuple[list[dict[str, object]], str | None]:
    """Run the demo until its last line, ask what that line asks, and end it as Ctrl-C does.

    Returns the answer and the generation that it came from.
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOURFEED_STATE": str(folder), "HOURFEED_TREES": "10"}
    env |= {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}  # left alone
    command = [sys.executable, "-m", "cli", "demo", "--port", str(free_port()), "--users", "100"]
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("curl "):
            assert lines[-1], "".join(lines)
            lines.append(process.stdout.readline())
        url = urlsplit(shlex.split(lines[-1])[1])
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        connection.request("GET", f"{url.path}?{url.query}")
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200
        assert response.headers["X-Hourfeed-Rung"] == "exact"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
        return list(answer), response.headers["X-Hourfeed-Generation"]
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_the_demo_answers_the_request_it_prints_and_running_it_twice_is_harmless(tmp_path: Path) -> None:
    first, generation = run_demo(tmp_path)
    assert len(first) == 5
    assert all(post["text"] and post["topic"] for post in first)
    assert generation
    assert run_demo(tmp_path) == (first, generation)  # it was fresh, so no batch was run
    assert not is_running(tmp_path / "demo" / "redis")
