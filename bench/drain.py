"""Posted events against kills: `python -m bench.drain` posts 100,000 amid kills, and counts what has arrived.

A real Postgres, a Redis with its log (AOF, fsync at every write), `hourfeed serve` and `hourfeed drain`. Drain, server,
Redis and the drain's connection to the database are killed by SIGKILL, at random; each is started again by itself.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from bench.errors import BenchError
from bench.figures import conclude, read_targets
from bench.service import forget_own_settings, open_connection
from demo.postgres import create_database, temporary_postgres
from demo.services import redis_binary
from slates.client import REDIS_AWAY, connect
from slates.event_stream import count_waiting
from slates.keys import Keys
from source.engine import open_engine

AT_ONCE = 200
SENDERS = 2
WITHIN_S = 120.0
BEGUN = datetime(2021, 12, 20, tzinfo=UTC)
_TABLE = "CREATE TABLE feed_data (timestamp timestamp, user_id bigint, post_id bigint, action text)"
"""Without a key of its own: an event that came twice would be there twice."""


_NO_ANSWER = (OSError, http.client.HTTPException)


@dataclass
class Revived:
    """A process that is started again whenever it is killed."""

    command: Sequence[str | Path]
    cwd: Path
    environment: dict[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, in a group of its own, with what it forks."""
        self._process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Return its pid, 0 before the start."""
        return 0 if self._process is None else self._process.pid

    def kill(self) -> None:
        """SIGKILL it and what it forked."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def revive(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()


@dataclass(frozen=True)
class Parts:
    """All that an event passes on its way."""

    redis: Revived
    server: Revived
    drain: Revived
    redis_url: str
    server_url: str
    engine: Engine


def drain(events: int, pause_s: float, seed: int = 0) -> dict[str, float]:
    """Post so many events with a kill every `pause_s` on average; return the figures."""
    with tempfile.TemporaryDirectory(prefix="hourfeed-drain-") as name, _parts(Path(name)) as parts:
        stop, retries = threading.Event(), []
        begun = time.perf_counter()
        killer = _Killer(parts, pause_s, random.Random(seed), stop)  # noqa: S311 - no secret
        killer.start()
        numbers = [range(first, events, SENDERS) for first in range(SENDERS)]
        senders = [
            threading.Thread(target=lambda own=own: retries.append(_send(parts, own)), daemon=True) for own in numbers
        ]
        try:
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
        finally:  # before the parts end, which it would start again
            stop.set()
            killer.join()
        _wait_until_empty(parts.redis_url)
        took_s = time.perf_counter() - begun
        with parts.engine.connect() as connection:
            rows, different, least, most = connection.execute(
                text("SELECT count(*), count(DISTINCT post_id), min(post_id), max(post_id) FROM feed_data")
            ).one()
        return {
            "events": events,
            "missing": events - different,
            "doubled": rows - different,
            "foreign": int(least != 0) + int(most != events - 1),
            "retries": sum(retries),
            **{f"kills.{name}": count for name, count in killer.counts.items()},
            "seconds": round(took_s, 1),
        }


@contextlib.contextmanager
def _parts(folder: Path) -> Iterator[Parts]:
    redis_port, server_port = free_ports(2)
    (folder / "redis").mkdir()
    options = f"--bind 127.0.0.1 --port {redis_port} --appendonly yes --appendfsync always --dir {folder / 'redis'}"
    with temporary_postgres(folder / "postgres") as postgres:
        database_url = create_database(postgres, "drain")
        engine = open_engine(database_url, folder)
        with engine.begin() as connection:
            connection.execute(text(_TABLE))
            # The server for tests commits without waiting, and what a killed backend's end takes along would be lost.
            connection.execute(text("ALTER DATABASE drain SET synchronous_commit = on"))
        urls = {"REDIS_URL": f"redis://127.0.0.1:{redis_port}", "DATABASE_URL": database_url}
        hourfeed = (sys.executable, "-m", "cli")
        environment = {
            **urls,
            "HOURFEED_STATE": str(folder),
            "HOURFEED_OPEN": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        redis = Revived((redis_binary(), *options.split(), "--save", ""), folder, {})
        server = Revived((*hourfeed, "serve", "--port", str(server_port)), folder, environment)
        parts = Parts(
            redis,
            server,
            Revived((*hourfeed, "drain"), folder, environment),
            urls["REDIS_URL"],
            f"http://127.0.0.1:{server_port}",
            engine,
        )
        try:
            for part in (redis, server, parts.drain):
                part.start()
            yield parts
        finally:
            for part in (parts.drain, server, redis):
                part.kill()
            engine.dispose()


def free_ports(count: int) -> list[int]:
    """Return so many ports of this machine that are free at this moment."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class _Killer(threading.Thread):
    """Kills one part after the other: each of them once, then any."""

    def __init__(self, parts: Parts, pause_s: float, chance: random.Random, stop: threading.Event) -> None:
        super().__init__(name="killer", daemon=True)
        self._parts, self._pause_s, self._chance, self._stop_event = parts, pause_s, chance, stop
        self._acts: dict[str, Callable[[], None]] = {
            "drain": parts.drain.revive,
            "redis": parts.redis.revive,
            "database": lambda: _kill_backend(parts.engine),
            "server": lambda: _revive_server(parts),
        }
        self.counts = dict.fromkeys(self._acts, 0)

    def run(self) -> None:
        """Kill until told to stop, and every part at least once."""
        while not self._stop_event.wait(self._chance.uniform(0.5, 1.5) * self._pause_s) or 0 in self.counts.values():
            least = min(self.counts.values())
            name = self._chance.choice([name for name, count in self.counts.items() if count <= least])
            self._acts[name]()
            self.counts[name] += 1


def _revive_server(parts: Parts) -> None:
    """Kill the server and wait until it answers again: on a busy machine it would otherwise never do anything."""
    parts.server.revive()
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.closing(open_connection(parts.server_url)) as connection, contextlib.suppress(*_NO_ANSWER):
            connection.request("GET", "/healthz")
            connection.getresponse()
            return
        time.sleep(0.05)


def _kill_backend(engine: Engine) -> None:
    """SIGKILL the database's process that works for the drain, if it has one; Postgres then ends all others too."""
    with contextlib.suppress(Exception), engine.connect() as connection:  # it may be starting again
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'hourfeed' AND pid <> pg_backend_pid()"
        for (pid,) in connection.execute(text(query)):
            os.kill(pid, signal.SIGKILL)
    engine.dispose()


def _send(parts: Parts, numbers: range) -> int:
    """Post events, each request until it is answered by 202; return how many had to be sent again."""
    retries = 0
    for first in range(0, len(numbers), AT_ONCE):
        body = json.dumps([_event(number) for number in numbers[first : first + AT_ONCE]])
        deadline = time.monotonic() + WITHIN_S
        while (status := _post(parts.server_url, body)) != http.HTTPStatus.ACCEPTED:
            if 400 <= status < 500 or time.monotonic() > deadline:
                msg = f"the server answers {status} to events"
                raise BenchError(msg)
            retries += 1
            time.sleep(0.05)
    return retries


def _event(number: int) -> dict[str, str | int]:
    moment = BEGUN + timedelta(seconds=number)
    return {
        "event_id": f"event {number}",
        "user_id": number % 997,
        "post_id": number,
        "action": "view",
        "time": moment.isoformat(),
    }


def _post(url: str, body: str) -> int:
    """Return the status, 0 where there is no answer."""
    with contextlib.closing(open_connection(url)) as connection:
        try:
            connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        except _NO_ANSWER:
            return 0


def _wait_until_empty(redis_url: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    with connect(redis_url) as redis:
        while time.monotonic() < deadline:
            with contextlib.suppress(*REDIS_AWAY):
                if count_waiting(redis, Keys()) == 0:
                    return
            time.sleep(0.05)
    msg = f"events still wait for the database after {WITHIN_S:g} s"
    raise BenchError(msg)


def main() -> int:
    """Run it; the exit status is 1 when an event is missing or doubled."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--pause-s", type=float, default=1.0, help="seconds between two kills, on average")
    given = parser.parse_args()
    forget_own_settings()
    return conclude("drain", drain(given.events, given.pause_s), read_targets("drain"))


if __name__ == "__main__":
    sys.exit(main())
