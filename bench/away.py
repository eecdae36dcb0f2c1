"""What readers notice while Redis or the database is away: `python -m bench.away`.

gunicorn as the Procfile has it, a real Redis and a real Postgres, and a few callers that ask for feeds all the time. In
turn the database is stopped; Redis is paused, so that it takes connections and never answers; a server is started
meanwhile; Redis is stopped, so that it refuses; and a server is started once more. Of each: the slowest answer of the
first second after the fault, and the answers from then on.
"""

import argparse
import contextlib
import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from bench.errors import BenchError
from bench.figures import conclude, read_targets
from bench.serve import gunicorn_hourfeed, served
from bench.service import HOURFEED, forget_own_settings
from demo.held import is_running
from demo.postgres import create_database, temporary_postgres
from demo.services import hold_redis
from slates.client import connect
from slates.generations import live_generation
from slates.keys import Keys

_CALLERS, _FIRST_S, _WITHIN_S = 4, 1.0, 30.0
_PAUSE_S = 0.005
_LIMIT = 5


@dataclass(frozen=True)
class Answer:
    """One answer: when it was asked for, seconds since the callers began, how long it took, and what it was."""

    at_s: float
    took_s: float
    status: int
    rung: str


@dataclass(frozen=True)
class World:
    """What is asked of: users, a time of the live generation, and how a server is started."""

    redis: Redis
    users: list[str]
    at: str
    environment: Mapping[str, str]

    @contextlib.contextmanager
    def server(self) -> Iterator[int]:
        """Run a server while the block runs, and yield its port."""
        with served(gunicorn_hourfeed(), "/healthz", **self.environment) as running:
            yield int(running.url.rpartition(":")[2])


def ask(world: World, port: int, seconds: float) -> list[Answer]:
    """Ask for feeds for some seconds, each over a connection of its own, so that all workers are met."""
    answers: list[Answer] = []
    begun = time.perf_counter()

    def call(caller: int) -> None:
        number = caller
        while (at_s := time.perf_counter() - begun) < seconds:
            user = world.users[number % len(world.users)]
            answers.append(_ask_once(port, f"/post/recommendations/?id={user}&time={world.at}&limit={_LIMIT}", at_s))
            number += _CALLERS
            time.sleep(_PAUSE_S)

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(_CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return answers


def _ask_once(port: int, path: str, at_s: float) -> Answer:
    begun = time.perf_counter()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            status, rung = answer.status, answer.headers.get("X-Hourfeed-Rung", "")
        except (OSError, http.client.HTTPException):
            status, rung = 0, ""
    return Answer(at_s, time.perf_counter() - begun, status, rung)


def figures_of(name: str, answers: list[Answer], rung: str) -> dict[str, float]:
    """Return what the callers met: `failed` were no 200, `elsewhere` came from another rung after the first second."""
    later = [answer for answer in answers if answer.at_s >= _FIRST_S]
    took_ms = [1_000 * answer.took_s for answer in later]
    return {
        f"{name}.asked": len(answers),
        f"{name}.failed": sum(answer.status != http.HTTPStatus.OK for answer in answers),
        f"{name}.elsewhere": sum(answer.rung != rung for answer in later),
        f"{name}.first_ms": 1_000 * max(answer.took_s for answer in answers if answer.at_s < _FIRST_S),
        f"{name}.p50_ms": statistics.median(took_ms),
        f"{name}.p99_ms": statistics.quantiles(took_ms, n=100, method="inclusive")[98],
        f"{name}.max_ms": max(took_ms),
    }


@contextlib.contextmanager
def paused(redis: Redis) -> Iterator[None]:
    """Let Redis take connections and answer nothing while the block runs."""
    info: Any = redis.info("server")
    pid = int(info["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """Make a world in `folder`, and let its parts go away in turn."""
    figures: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        held = hold_redis(folder)
        stack.callback(held.close)
        postgres = stack.enter_context(contextlib.ExitStack())
        server_url = postgres.enter_context(temporary_postgres(folder / "postgres"))
        world = _world(held.url, create_database(server_url, "away"), folder / "state")
        with world.server() as port:
            _await((folder / "state" / "warm.json").exists, "the server keeps popular posts on disk")
            figures |= figures_of("all_there", ask(world, port, seconds), "exact")
            postgres.close()
            figures |= figures_of("database_stopped", ask(world, port, seconds), "exact")
            with paused(world.redis):
                figures |= figures_of("redis_hangs", ask(world, port, seconds), "memory")
                with world.server() as other:
                    figures |= figures_of("redis_hangs.restart", ask(world, other, seconds), "disk")
            _await(lambda: ask(world, port, 0.1)[0].rung == "exact", "the server sees that Redis is back")
            world.redis.close()
            held.close()
            _await(lambda: not is_running(held.folder), "Redis ends")
            figures |= figures_of("redis_stopped", ask(world, port, seconds), "memory")
            with world.server() as other:
                figures |= figures_of("redis_stopped.restart", ask(world, other, seconds), "disk")
    return figures


def _world(redis_url: str, database_url: str, state: Path) -> World:
    """Publish a small simulated network."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOURFEED_STATE": str(state),
        "HOURFEED_RANKER": "popular_24h",
    }
    for words in (["simulate", "--users", "200", "--posts", "150", "--days", "3"], ["batch", "--force"]):
        done = subprocess.run(
            [HOURFEED, *words], env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            msg = f"hourfeed {' '.join(words)} failed:\n{done.stderr[-2000:]}"
            raise BenchError(msg)
    redis = connect(redis_url)
    live = live_generation(redis, Keys())
    if live is None:
        raise BenchError("no generation is live after a batch")
    prefix = Keys().user(live.id, "")
    users = sorted(key.decode().removeprefix(prefix) for key in redis.scan_iter(match=f"{prefix}*", count=1_000))
    return World(redis, users, f"{live.as_of:%Y-%m-%dT%H:%M}", environment)


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"not so within {_WITHIN_S:g} s: {what}")
        time.sleep(0.02)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of asking, for each fault")
    chosen = parser.parse_args(arguments)
    forget_own_settings()
    with tempfile.TemporaryDirectory() as folder:
        return conclude("away", measure(Path(folder), chosen.seconds), read_targets("away"))


if __name__ == "__main__":
    sys.exit(main())
