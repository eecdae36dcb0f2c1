"""The real thing: gunicorn in processes of its own, a real Redis, HTTP."""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from published import Generation, put_posts
from redis import Redis

from demo.held import is_running
from demo.services import hold_redis
from slates.client import connect

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
QUERY = "/post/recommendations/?id=7&time=2021-12-20T12&limit=2"
TUESDAY = Generation(id="tuesday", users={"7": {12: "1 2 3"}}, popular={12: "5 6"})
WITHIN_S = 30


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int

    def get(self, path: str) -> Answer:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), json.loads(response.read()))

    def wait_for(self, path: str, status: int) -> Answer:
        """Ask until the answer has `status`."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
            with contextlib.suppress(OSError):
                answer = self.get(path)
                if answer.status == status:
                    return answer
            assert time.monotonic() < deadline, f"no {status} from {path} within {WITHIN_S} s"
            time.sleep(0.02)


@contextlib.contextmanager
def running(command: list[str], port: int, cwd: Path, *, ends_with: int = 0, **variables: str) -> Iterator[Running]:
    """Run a server while the block runs, in a process group of its own that ends with it in any case."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield Running(process, port)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == ends_with
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def port() -> int:
    return free_port()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"not so within {WITHIN_S} s"
        time.sleep(0.02)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], WITHIN_S)[0], "nothing was printed in time"
    return process.stdout.readline().rstrip("\n")


def test_gunicorn_serves_by_the_configuration_in_the_repository(
    redis_url: str, redis_client: Redis, port: int, tmp_path: Path
) -> None:
    command, _, app = (ROOT / "Procfile").read_text().splitlines()[0].removeprefix("web: ").partition(" '")
    program, *options = command.split()
    put_posts(redis_client, "12356")
    TUESDAY.publish(redis_client)
    with running(
        [str(BIN / program), *options, app.rstrip("'")],
        port,
        ROOT,
        REDIS_URL=redis_url,
        PORT=str(port),
        HOURFEED_FRESH_FOR_H="1e6",
        HOME=str(tmp_path),
    ) as server:
        ready = server.wait_for("/readyz", 200)
        assert ready.body["generation"] == "tuesday"
        answer = server.get(QUERY)
        assert [post["id"] for post in answer.body] == [1, 2]
        assert answer.headers["X-Hourfeed-Rung"] == "exact"
        assert server.get("/post/recommendations/?id=7&limit=0").status == 422
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(b"GET /post/recommendations/?id=\xff HTTP/1.0\r\n\r\n")
            assert re.match(rb"HTTP/1\.\d 4\d\d ", raw.recv(1000))
    assert list(tmp_path.iterdir()) == []  # no control socket in the home folder


def test_every_worker_goes_on_from_memory_when_redis_stops(port: int, tmp_path: Path) -> None:
    held = hold_redis(tmp_path / "state")
    with contextlib.closing(connect(held.url)) as redis:
        put_posts(redis, "12356")
        TUESDAY.publish(redis)
        command = [str(BIN / "hourfeed"), "serve", "--port", str(port)]
        with running(command, port, tmp_path, REDIS_URL=held.url, HOURFEED_WORKERS="2") as server:
            wait_until(lambda: calls(redis, "hmget") >= 4)  # both workers have read the two popular posts, unasked
            assert server.get(QUERY).headers["X-Hourfeed-Rung"] == "exact"
            held.close()
            wait_until(lambda: not is_running(held.folder))
            begun = time.monotonic()
            answers = [server.get(QUERY) for _ in range(40)]
            assert time.monotonic() - begun < 10
            assert {answer.status for answer in answers} == {200}
            assert {answer.headers["X-Hourfeed-Rung"] for answer in answers} == {"memory"}
            assert [post["id"] for post in answers[0].body] == [5, 6]
            assert server.get("/readyz").status == 503


def test_workers_count_together_and_one_that_dies_leaves_its_counts(
    redis_url: str, redis_client: Redis, port: int, tmp_path: Path
) -> None:
    put_posts(redis_client, "12356")
    TUESDAY.publish(redis_client)
    command = [str(BIN / "hourfeed"), "serve", "--port", str(port)]
    with running(command, port, tmp_path, REDIS_URL=redis_url, HOURFEED_WORKERS="2", TMPDIR=str(tmp_path)) as server:
        first_line(server.process)
        for _ in range(20):
            assert server.get(QUERY).status == 200
        counted = 'hourfeed_feeds_total{rung="exact"}'
        assert metrics_of(server)[counted] == 20
        (folder,) = tmp_path.glob("hourfeed-metrics-*")
        dead = min(workers_of(server.process))
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: len(workers_of(server.process) - {dead}) == 2)
        wait_until(lambda: metrics_of(server)["hourfeed_workers"] == 2)
        for _ in range(5):
            assert server.get(QUERY).status == 200
        assert metrics_of(server)[counted] == 25
    assert not folder.exists()


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    return set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def metrics_of(server: Running) -> dict[str, float]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def calls(redis: Redis, command: str) -> int:
    statistics: dict[str, Any] = redis.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_brings_its_own_redis_and_takes_it_along(port: int, tmp_path: Path, stop: signal.Signals) -> None:
    command = [str(BIN / "hourfeed"), "serve", "--port", str(port)]
    with running(command, port, tmp_path) as server:
        line = first_line(server.process)
        assert line == f"curl 'http://127.0.0.1:{port}/post/recommendations/?id=1&limit=5'"
        assert server.get("/healthz").body == {"status": "ok"}
        assert server.get(QUERY).body == {"error": {"reason": "no generation is live yet; run `hourfeed batch`"}}
        assert is_running(tmp_path / ".hourfeed" / "redis")
        server.process.send_signal(stop)
        assert server.process.wait(WITHIN_S) == 0
    wait_until(lambda: not is_running(tmp_path / ".hourfeed" / "redis"))


def test_nothing_is_left_when_serve_is_killed(port: int, tmp_path: Path) -> None:
    command = [str(BIN / "hourfeed"), "serve", "--port", str(port)]
    with running(command, port, tmp_path, ends_with=-signal.SIGKILL) as server:
        first_line(server.process)
        server.process.kill()
    wait_until(lambda: not is_running(tmp_path / ".hourfeed" / "redis"))
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


def test_a_wrong_setting_is_a_line_and_not_a_stack_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "hourfeed"), "serve"],
        cwd=tmp_path,
        env={**os.environ, "HOURFEED_THREADS": "many"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: setting threads = 'many': ")
    assert done.stderr.count("\n") == 1
