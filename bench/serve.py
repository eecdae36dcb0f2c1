"""Speed of the server beside a bare Flask app and beside what it replaces: `make bench-serve`.

wrk asks each in turn, several times, on one machine: judge by the ratios. `hourfeed` reaches Redis by TCP, `unix` is
the same server by Redis's socket. `--lookups N` asks N feeds instead, while two generations take turns every few
seconds, and compares every answer with what that generation holds for that user.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from redis import Redis

from bench.errors import BenchError
from bench.figures import conclude, read_targets
from bench.service import HOURFEED, forget_own_settings
from demo.postgres import create_database, temporary_postgres
from demo.scales import SCALES
from demo.services import SOCKET, hold_redis
from slates.client import connect
from slates.generations import list_generations, rollback
from slates.keys import Keys

ROOT = Path(__file__).resolve().parent.parent
_BIN = Path(sys.executable).parent
_WORKERS, _THREADS, _CONNECTIONS = 2, 4, 8
_POSTS = SCALES["reference"]["posts"]
_TEXT_BYTES, _LIMIT = 1_500, 5
_TRIES, _UNEVEN, _OTHERS_S = 5, 0.7, 5
_FLIP_S, _USERS_ASKED = 2.0, 50
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}
_LUA = """\
local users = {%s}
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "/post/recommendations/?limit=%d&id=" .. users[n %% #users + 1])
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests/s, latencies, and answers that were no 2xx."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def read_wrk(said: str) -> Load:
    """Read what `wrk --latency` prints."""

    def latency(share: str) -> float:
        found = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s) *$", said, re.MULTILINE)
        if found is None:
            msg = f"wrk told no latency at {share} %:\n{said}"
            raise BenchError(msg)
        return float(found[1]) * _UNITS_MS[found[2]]

    speed = re.search(r"^Requests/sec:\s+([\d.]+)", said, re.MULTILINE)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    if speed is None:
        msg = f"wrk told no speed:\n{said}"
        raise BenchError(msg)
    return Load(float(speed[1]), latency("50"), latency("99"), int(failed[1]) if failed else 0)


def load(url: str, seconds: int, script: Path | None = None) -> Load:
    """Ask a server for some seconds."""
    wrk = shutil.which("wrk")
    if wrk is None:
        msg = "there is no wrk, which makes the load: apt-get install wrk"
        raise BenchError(msg)
    command = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    command += ["-s", str(script)] if script else []
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True, timeout=seconds + 60)
    return read_wrk(done.stdout)


@dataclass(frozen=True)
class Measured:
    """A load, and the processor microseconds of a request: of the workers, of Redis, and of wrk itself."""

    load: Load
    workers_us: float
    redis_us: float
    wrk_us: float


@dataclass(frozen=True)
class Server:
    """A server that runs: where, its process, and the seconds until it answered."""

    url: str
    pid: int
    ready_s: float

    def workers(self) -> list[str]:
        """Return the ids of its workers' processes."""
        return Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time that each worker has taken, by its id."""
        stats = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.workers()}
        return {pid: (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") for pid, stat in stats.items()}

    def worker_mb(self) -> float:
        """Return the memory of its largest worker, in MB: resident, what it shares with others included."""
        sizes = [Path(f"/proc/{child}/status").read_text() for child in self.workers()]
        return max(int(re.findall(r"VmRSS:\s+(\d+)", size)[0]) for size in sizes) / 1024


def load_evenly(server: Server, path: str, seconds: int, script: Path | None, redis: Redis) -> Measured:
    """Ask a server under gunicorn for some seconds.

    A connection stays with the worker that has accepted it. Where by chance one worker does nearly all the work, so
    that a core is left idle, it is asked once more, over new connections; a few times at most.
    """
    for _ in range(_TRIES):
        before, redis_s, wrk_s = server.cpu_s(), _redis_cpu_s(redis), _wrk_cpu_s()
        found = load(f"{server.url}{path}", seconds, script)
        spent = [cpu_s - before.get(pid, 0.0) for pid, cpu_s in server.cpu_s().items()]
        if max(spent) <= _UNEVEN * sum(spent):
            break
    redis_s, wrk_s = _redis_cpu_s(redis) - redis_s, _wrk_cpu_s() - wrk_s
    per_us = 1e6 / (found.per_s * seconds)
    return Measured(found, sum(spent) * per_us, redis_s * per_us, wrk_s * per_us)


def _redis_cpu_s(redis: Redis) -> float:
    told = cast("dict[str, float]", redis.info("cpu"))
    return told["used_cpu_user"] + told["used_cpu_sys"]


def _wrk_cpu_s() -> float:
    """Return what children took that have ended: between two loads that is wrk alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def served(command: list[str], path: str, **environment: str) -> Iterator[Server]:
    """Run a server (`{port}` in the command is its port) while the block runs; it is up when `path` answers 200."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment |= {"HOURFEED_PORT": str(port), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begun = time.perf_counter()
    with subprocess.Popen(
        [word.replace("{port}", str(port)) for word in command],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _await(process, port, path)
            yield Server(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - begun)
        finally:
            process.terminate()


def _await(process: "subprocess.Popen[str]", port: int, path: str) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _get(port, path)[0] == http.HTTPStatus.OK:
                return
        time.sleep(0.01)
    process.kill()
    msg = f"{' '.join(map(str, process.args))} did not answer {path}"  # type: ignore[arg-type]
    raise BenchError(msg)


def _get(port: int, path: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def gunicorn_hello() -> list[str]:
    """Return the command of the bare app under the same gunicorn and kind of workers."""
    kind = ["-k", "gthread", "-w", str(_WORKERS), "--threads", str(_THREADS), "--keep-alive", "5"]
    return [str(_BIN / "gunicorn"), *kind, "-b", "127.0.0.1:{port}", "--no-control-socket", "bench.serve_apps:hello()"]


def gunicorn_hourfeed() -> list[str]:
    """Return the command of the server, as the Procfile has it."""
    return [str(_BIN / "gunicorn"), "--config", str(ROOT / "server" / "gunicorn.py"), "server.app:create_app()"]


def uvicorn(app: str) -> list[str]:
    """Return the command of one of the services that are replaced."""
    workers = ["--workers", str(_WORKERS), "--log-level", "error", "--factory"]
    return [str(_BIN / "uvicorn"), *workers, "--port", "{port}", f"bench.serve_apps:{app}"]


def measure(world: "World", seconds: int, rounds: int) -> dict[str, float]:
    """Return the figures: hello and the server in turn, then the others once each."""
    threads = {"HOURFEED_WORKERS": str(_WORKERS), "HOURFEED_THREADS": str(_THREADS)}
    found: dict[str, list[Measured]] = {"hello": [], "hourfeed": [], "unix": []}
    with (
        connect(world.redis_url) as redis,
        served(gunicorn_hello(), "/hello") as bare,
        served(gunicorn_hourfeed(), "/healthz", **threads, REDIS_URL=world.redis_url) as server,
        served(gunicorn_hourfeed(), "/healthz", **threads, REDIS_URL=world.redis_socket_url) as by_socket,
    ):
        for at in range(rounds + 1):  # the first warms up
            for name, asked in (("hello", bare), ("hourfeed", server), ("unix", by_socket)):
                path, script = ("/hello", None) if name == "hello" else ("", world.script)
                one = load_evenly(asked, path, seconds, script, redis)
                found[name] += [one] if at else []
        megabytes, ready_s = server.worker_mb(), server.ready_s
    others = {}
    for name in ("popular", "scoring"):
        path = f"/post/recommendations/?id={world.user_ids[0]}"
        with served(uvicorn(name), path, DATABASE_URL=world.database_url) as other:
            others[name] = load(other.url, max(seconds, _OTHERS_S), world.script)
    figures = {
        "hourfeed.start_s": ready_s,
        "hourfeed.worker_mb": megabytes,
        "hourfeed.failed": sum(one.load.failed for name in ("hourfeed", "unix") for one in found[name]),
        "of_hello": _of(found["hourfeed"], found["hello"]),
        "unix.of_hello": _of(found["unix"], found["hello"]),
    }
    for name, measured in found.items():
        figures |= {
            f"{name}.requests_per_s": statistics.median(one.load.per_s for one in measured),
            f"{name}.p50_ms": statistics.median(one.load.p50_ms for one in measured),
            f"{name}.p99_ms": statistics.median(one.load.p99_ms for one in measured),
            f"{name}.cpu_us": statistics.median(one.workers_us for one in measured),
            f"{name}.redis_cpu_us": statistics.median(one.redis_us for one in measured),
            f"{name}.wrk_cpu_us": statistics.median(one.wrk_us for one in measured),
        }
    figures["p99_of_hello"] = figures["hourfeed.p99_ms"] / figures["hello.p99_ms"]
    speed = figures["hourfeed.requests_per_s"]
    for name, seen in others.items():
        figures |= {f"{name}.requests_per_s": seen.per_s, f"{name}.p99_ms": seen.p99_ms}
        figures[f"of_{name}"] = speed / seen.per_s
    return figures


def _of(ours: list[Measured], hello: list[Measured]) -> float:
    """Return the speed as a share of hello's, load by load: those that followed each other are alike in all else."""
    return statistics.median(a.load.per_s / b.load.per_s for a, b in zip(ours, hello, strict=True))


@dataclass(frozen=True)
class World:
    """A simulated network with two generations in Redis, whose posts have texts of 1.5 kB."""

    redis_url: str
    redis_socket_url: str
    database_url: str
    user_ids: list[str]
    script: Path


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make it, in a Redis and a Postgres of its own."""
    with temporary_postgres(folder / "postgres") as server_url, hold_redis(folder) as held:
        database_url = create_database(server_url, "serve")
        settings = {"DATABASE_URL": database_url, "REDIS_URL": held.url, "HOURFEED_STATE": str(folder / "state")}
        _run(["simulate", f"--posts={_POSTS}"], settings)
        for ranker in ("popular_24h", "item_knn_recency"):  # feeds that differ
            _run(["batch", "--force"], {**settings, "HOURFEED_RANKER": ranker})
        with connect(held.url) as redis:
            user_ids = _user_ids(redis)
            _lengthen(redis)
        script = folder / "users.lua"
        script.write_text(_LUA % (", ".join(f'"{user}"' for user in user_ids), _LIMIT))
        socket_url = f"unix://:{urlsplit(held.url).password}@{folder}/redis/{SOCKET}"
        yield World(held.url, socket_url, database_url, user_ids, script)


def _run(words: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [HOURFEED, *words], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"hourfeed {' '.join(words)} failed:\n{done.stderr[-2000:]}"
        raise BenchError(msg)


def _user_ids(redis: Redis) -> list[str]:
    live = list_generations(redis, Keys())[0].id
    prefix = Keys().user(live, "")
    return sorted(key.decode().removeprefix(prefix) for key in redis.scan_iter(match=f"{prefix}*", count=1_000))


def _lengthen(redis: Redis) -> None:
    for key in list(redis.scan_iter(match=Keys().post("*").replace("%2A", "*"), count=1_000)):
        redis.hset(key, "text", f"{key.decode()} ".ljust(_TEXT_BYTES, "x"))


def look_up(world: World, lookups: int) -> dict[str, float]:
    """Ask feeds while two generations take turns; return counts of what was wrong."""
    settings = {"REDIS_URL": world.redis_url, "HOURFEED_WORKERS": str(_WORKERS), "HOURFEED_THREADS": str(_THREADS)}
    users = world.user_ids[:_USERS_ASKED]
    keys, stop = Keys(), threading.Event()
    with connect(world.redis_url) as redis, served(gunicorn_hourfeed(), "/readyz", **settings) as server:
        names = [manifest.id for manifest in list_generations(redis, keys)][:2]
        at = f"{list_generations(redis, keys)[0].as_of:%Y-%m-%dT%H:%M}"
        port = int(server.url.rpartition(":")[2])
        expected: dict[str, dict[str, bytes]] = {}
        for name in names:
            rollback(redis, keys, name)
            expected[name] = {user: _get(port, _path(user, at))[1] for user in users}
        flips = [0]

        def flip() -> None:
            while not stop.wait(_FLIP_S):
                flips[0] += 1
                rollback(redis, keys, names[flips[0] % 2])

        flipping = threading.Thread(target=flip)
        flipping.start()
        begun = time.perf_counter()
        try:
            with multiprocessing.get_context("spawn").Pool(_WORKERS) as pool:
                parts = [(port, at, expected, lookups // _WORKERS) for _ in range(_WORKERS)]
                counts = pool.starmap(ask_many, parts)
        finally:
            stop.set()
            flipping.join()
    names_of = ("failed", "not_whole", "asked")
    totals = dict(zip(names_of, map(sum, zip(*counts, strict=True)), strict=True))
    return {
        "lookups.asked": totals["asked"],
        "lookups.failed": totals["failed"],
        "lookups.not_whole": totals["not_whole"],
        "lookups.flips": flips[0],
        "lookups.seconds": time.perf_counter() - begun,
    }


def ask_many(port: int, at: str, expected: dict[str, dict[str, bytes]], n: int) -> tuple[int, int, int]:
    """Ask n feeds over one connection; return answers that were no 200, that were not their generation's, and n."""
    users = list(next(iter(expected.values())))
    failed = not_whole = 0
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        for number in range(n):
            user = users[number % len(users)]
            connection.request("GET", _path(user, at))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.HTTPStatus.OK:
                failed += 1
            elif body != expected.get(answer.headers["X-Hourfeed-Generation"], {}).get(user) or not json.loads(body):
                not_whole += 1
    return failed, not_whole, n


def _path(user: str, at: str) -> str:
    return f"/post/recommendations/?id={user}&time={at}&limit={_LIMIT}"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--rounds", type=int, default=5, help="loads of hello and of the server, in turn")
    parser.add_argument("--lookups", type=int, default=0, help="look-ups while generations flip, instead of the speed")
    chosen = parser.parse_args()
    forget_own_settings()
    os.environ["HOURFEED_FRESH_FOR_H"] = "1e6"  # the simulated log ends when it ends
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        if chosen.lookups:
            return conclude("lookups", look_up(made, chosen.lookups), read_targets("lookups"))
        return conclude("serve", measure(made, chosen.seconds, chosen.rounds), read_targets("serve"))


if __name__ == "__main__":
    raise SystemExit(main())
