"""Faults of all that hourfeed leans on, each for a moment while a batch runs; what was done is undone at the end."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg2

from bench.chaos_lookups import Watch
from bench.chaos_world import World
from bench.proxy import Proxy

_DELAY_S = 0.05
_ANSWERS_TO_BATCH, _ANSWERS_TO_SERVER, _ROWS_TO_BATCH = 12_000, 4_000, 150_000
"""Bytes within which an answer is cut, so that the cut falls somewhere into a run."""
_FILE_BYTES = 40_000


@dataclass(frozen=True)
class Given:
    """What a fault works on: for how long it lasts, and where within that it is drawn."""

    world: World
    watch: Watch
    chance: random.Random
    seconds: float

    def pass_time(self) -> None:
        """Let the fault last."""
        time.sleep(self.seconds)


@contextmanager
def redis_stopped(given: Given) -> Iterator[None]:
    """Kill Redis, and start it again with its log."""
    given.world.redis.kill()
    given.pass_time()
    given.world.redis.start()
    given.world.await_redis()
    yield


@contextmanager
def redis_emptied(given: Given) -> Iterator[None]:
    """Kill Redis, and start it again without its data."""
    given.world.redis.kill()
    shutil.rmtree(given.world.folder / "redis")
    (given.world.folder / "redis").mkdir()
    given.pass_time()
    given.world.redis.start()
    given.world.await_redis()
    yield


@contextmanager
def redis_hung(given: Given) -> Iterator[None]:
    """Pause Redis: connections are taken, and nothing is answered for a while."""
    pid = given.world.redis.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        given.pass_time()
    finally:
        os.kill(pid, signal.SIGCONT)
    yield


@contextmanager
def redis_full(given: Given) -> Iterator[None]:
    """Let Redis refuse what needs memory, from now until the batch has ended."""
    with given.world.client() as redis:
        redis.config_set("maxmemory", 1)
        try:
            yield
        finally:
            redis.config_set("maxmemory", 0)


@contextmanager
def redis_slow(given: Given) -> Iterator[None]:
    """Let each answer of Redis take its time, to batch and server."""
    for proxy in (given.world.to_redis, given.world.server_to_redis):
        proxy.delay_s = _DELAY_S
    given.pass_time()
    yield


@contextmanager
def batch_cut_off(given: Given) -> Iterator[None]:
    """Cut the batch's connection in the middle of an answer of Redis."""
    yield from _cut(given, given.world.to_redis, _ANSWERS_TO_BATCH)


@contextmanager
def server_cut_off(given: Given) -> Iterator[None]:
    """Cut the server's connections in the middle of an answer of Redis, again and again."""
    ends = time.monotonic() + given.seconds
    while time.monotonic() < ends:
        given.world.server_to_redis.cut_after(given.chance.randrange(_ANSWERS_TO_SERVER))
        time.sleep(0.05)
    yield


@contextmanager
def batch_refused(given: Given) -> Iterator[None]:
    """Keep the batch, and it alone, from Redis."""
    given.world.to_redis.refuse()
    given.pass_time()
    yield


@contextmanager
def database_crashed(given: Given) -> Iterator[None]:
    """Kill a process of Postgres, so that it ends all others and recovers."""
    with contextlib.suppress(psycopg2.Error):  # it may be recovering still
        url = given.world.database_url.replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone() or (0,)
            os.kill(pid, signal.SIGKILL)
            cursor.execute("SELECT 1")  # fails, once Postgres knows
    given.pass_time()
    yield


@contextmanager
def database_cut_off(given: Given) -> Iterator[None]:
    """Cut the batch's connection to Postgres in the middle of its rows."""
    yield from _cut(given, given.world.to_database, _ROWS_TO_BATCH)


@contextmanager
def database_refused(given: Given) -> Iterator[None]:
    """Keep the batch from Postgres."""
    given.world.to_database.refuse()
    given.pass_time()
    yield


@contextmanager
def database_hung(given: Given) -> Iterator[None]:
    """Withhold all that Postgres answers for a while."""
    given.world.to_database.withhold()
    given.pass_time()
    yield


@contextmanager
def worker_killed(given: Given) -> Iterator[None]:
    """Kill a worker of the server; gunicorn starts another."""
    workers = given.world.worker_pids()
    given.watch.worker_killed_at = time.monotonic()
    os.kill(given.chance.choice(workers), signal.SIGKILL)
    given.pass_time()
    yield


@contextmanager
def worker_killed_without_redis(given: Given) -> Iterator[None]:
    """Kill a worker while the server has no Redis, so that the next one begins with what lies on its disk."""
    given.world.server_to_redis.refuse()
    with worker_killed(given):
        yield


@contextmanager
def disk_full(_given: Given) -> Iterator[None]:
    """Do nothing: the batch was started with a limit on the files that it may write."""
    yield


def _cut(given: Given, proxy: Proxy, most: int) -> Iterator[None]:
    proxy.cut_after(given.chance.randrange(most))
    yield


Fault = Callable[[Given], AbstractContextManager[None]]
FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        redis_stopped,
        redis_emptied,
        redis_hung,
        redis_full,
        redis_slow,
        batch_cut_off,
        server_cut_off,
        batch_refused,
        database_crashed,
        database_cut_off,
        database_refused,
        database_hung,
        worker_killed,
        worker_killed_without_redis,
        disk_full,
    )
}
FROM_THE_START = {"database_crashed", "database_cut_off", "database_refused", "database_hung", "disk_full"}
"""Faults that come before the batch, since it is done with the database and the disk soon."""


def file_bytes_for(name: str, chance: random.Random) -> int | None:
    """Return the longest file that a batch may write under a fault; None for any."""
    return chance.randrange(1, _FILE_BYTES) if name == "disk_full" else None
