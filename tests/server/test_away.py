"""Redis hangs or is gone, and a server is started meanwhile: gunicorn in processes of its own, and HTTP."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from published import put_posts
from redis import Redis
from test_serving import BIN, QUERY, TUESDAY, WITHIN_S, Answer, Running, calls, free_port, running, wait_until

from demo.held import is_running
from demo.services import hold_redis
from slates.client import connect

TIMEOUT_S = 1.5
"""How long the servers of this test wait for Redis; whoever answers sooner has not waited."""


@contextmanager
def serving(folder: Path, redis_url: str) -> Iterator[Running]:
    port = free_port()
    environment: dict[str, Any] = {"HOURFEED_WORKERS": "2", "HOURFEED_THREADS": "2", "HOURFEED_WARM_FILE": "warm.json"}
    environment |= {"REDIS_URL": redis_url, "HOURFEED_REDIS_TIMEOUT_S": str(TIMEOUT_S), "HOURFEED_STATE": str(folder)}
    with running([str(BIN / "hourfeed"), "serve", "--port", str(port)], port, folder, **environment) as server:
        server.wait_for("/healthz", 200)
        yield server


def timed(server: Running) -> tuple[float, Answer]:
    begun = time.monotonic()
    answer = server.get(QUERY)
    return time.monotonic() - begun, answer


def without_waiting(server: Running, rung: str) -> list[int]:
    """Ask until no answer of twenty in a row has waited for Redis; return the posts of the last one."""
    quick, deadline = 0, time.monotonic() + WITHIN_S
    while quick < 20:
        assert time.monotonic() < deadline, "answers wait for Redis again and again"
        took_s, answer = timed(server)
        assert (answer.status, answer.headers["X-Hourfeed-Rung"]) == (200, rung)
        quick = quick + 1 if took_s < TIMEOUT_S else 0
    return [post["id"] for post in answer.body]


@contextmanager
def paused(redis: Redis) -> Iterator[None]:
    pid = int(redis.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_popular_posts_are_answered_at_once_by_servers_old_and_new(tmp_path: Path) -> None:
    held = hold_redis(tmp_path / "redis")
    with closing(connect(held.url)) as redis, serving(tmp_path, held.url) as server:
        put_posts(redis, "12356")
        TUESDAY.publish(redis)
        wait_until((tmp_path / "warm.json").exists)
        # Unasked, both workers have read the two popular posts, and one of them once more for the file.
        wait_until(lambda: calls(redis, "hmget") >= 6)
        with paused(redis):
            assert without_waiting(server, "memory") == [5, 6]
            assert server.get("/readyz?degraded=ok").body["status"] == "degraded"
            with serving(tmp_path, held.url) as restarted:
                assert without_waiting(restarted, "disk") == [5, 6]
        wait_until(lambda: {server.get(QUERY).headers["X-Hourfeed-Rung"] for _ in range(9)} == {"exact"})
        held.close()
        wait_until(lambda: not is_running(held.folder))
        assert without_waiting(server, "memory") == [5, 6]
        with serving(tmp_path, held.url) as restarted:
            assert without_waiting(restarted, "disk") == [5, 6]
