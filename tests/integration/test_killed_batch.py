"""A batch killed by SIGKILL at any point: readers keep the old generation whole, and the next run goes through."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from batch.settings import BatchSettings
from cli.batch import publish_once
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.client import connect
from slates.generations import live_generation
from slates.keys import Keys
from slates.lookup import Lookup
from slates.manifest import Manifest
from source.engine import open_engine
from source.schema import SourceSchema

ROOT = Path(__file__).resolve().parents[2]
KEYS = Keys()
AS_OF = datetime(2021, 12, 30, tzinfo=UTC)
FIRST, KILLED, NEXT = (f"20211230T000000-{seq}" for seq in (1, 2, 3))
N_USERS, HOURS, TOP_N = 200, 2, 10
LASTING = {"hourfeed:current", "hourfeed:generations", "hourfeed:last_run", "hourfeed:seq"}
LOCK_TTL_S = 30


class StallingProxy:
    """Hands the bytes of a client on to Redis up to, and without, the nth `mark`; then it keeps the client waiting."""

    def __init__(self, redis_url: str, mark: bytes, nth: int) -> None:
        self._to = urlsplit(redis_url)
        self._mark, self._nth = mark, nth
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pumps: list[threading.Thread] = []
        self.reached = threading.Event()
        self.url = f"redis://:{self._to.password}@127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def close(self) -> None:
        """Return when Redis has worked off what it got, and all clients are gone."""
        if self._listener.fileno() < 0:
            return  # closed before
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for pump in self._pumps:
            pump.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self._to.hostname, self._to.port))
            there = threading.Thread(target=self._to_redis, args=(client, server))
            back = threading.Thread(target=self._from_redis, args=(server, client, there))
            self._pumps.append(back)
            there.start()
            back.start()

    def _to_redis(self, client: socket.socket, server: socket.socket) -> None:
        seen, marks, stalled = b"", 0, False
        while chunk := _receive(client):
            if stalled:
                continue
            window = seen[-len(self._mark) + 1 :] + chunk
            marks += window.count(self._mark)
            if marks >= self._nth:
                place = len(window)
                for _ in range(marks - self._nth + 1):
                    place = window.rindex(self._mark, 0, place)
                chunk, stalled = chunk[: max(0, place - (len(window) - len(chunk)))], True
            server.sendall(chunk)
            seen = window
            if stalled:
                self.reached.set()
        server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _from_redis(server: socket.socket, client: socket.socket, there: threading.Thread) -> None:
        while chunk := _receive(server):
            try:
                client.sendall(chunk)
            except OSError:
                continue  # killed; Redis goes on with what it has
        there.join()
        server.close()
        client.close()


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with a small simulated network."""
    folder = tmp_path_factory.mktemp("network")
    url = f"sqlite:///{folder / 'hourfeed.db'}"
    engine = open_engine(url, folder)
    simulate(Parameters(users=N_USERS, posts=400, days=5, end=AS_OF), engine, SourceSchema(), folder)
    engine.dispose()
    return url


def make_settings(database: str, redis_url: str, state: Path) -> BatchSettings:
    return BatchSettings(
        database_url=database,
        redis_url=redis_url,
        state=state,
        ranker="item_knn_recency",
        hours=HOURS,
        top_n=TOP_N,
        keep_generations=2,
    )


@pytest.fixture(scope="module")
def first_generation(
    database: str, _redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[bytes, tuple[int, bytes]]:
    """All of Redis after the first run: key → TTL in ms (0: none) and what DUMP says."""
    with closing(connect(_redis_server)) as redis:
        redis.flushall()
        publish_once(make_settings(database, _redis_server, tmp_path_factory.mktemp("state")), AS_OF)
        return {key: (max(0, redis.pttl(key)), redis.dump(key) or b"") for key in redis.scan_iter()}


@pytest.fixture
def settings(
    database: str,
    first_generation: dict[bytes, tuple[int, bytes]],
    redis_url: str,
    redis_client: Redis,
    tmp_path: Path,
) -> BatchSettings:
    """Settings of the later runs, on a Redis in which the first one has published."""
    for key, (ttl_ms, dump) in first_generation.items():
        redis_client.restore(key, ttl_ms, dump)
    return make_settings(database, redis_url, tmp_path)


@pytest.fixture
def proxy(redis_url: str, request: pytest.FixtureRequest) -> Iterator[StallingProxy]:
    proxy = StallingProxy(redis_url, *request.param)
    yield proxy
    proxy.close()


def kill_batch_when_it_stalls(settings: BatchSettings, proxy: StallingProxy) -> None:
    env = {
        **os.environ,
        "DATABASE_URL": str(settings.database_url),
        "REDIS_URL": proxy.url,
        "HOURFEED_STATE": str(settings.state),
        "HOURFEED_RANKER": settings.ranker,
        "HOURFEED_HOURS": str(HOURS),
        "HOURFEED_TOP_N": str(TOP_N),
        "HOURFEED_KEEP_GENERATIONS": "2",
    }
    argv = [sys.executable, "-c", "from cli.main import run; run()", "batch", "--as-of", AS_OF.isoformat()]
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        while not proxy.reached.wait(0.05):
            assert run.poll() is None, f"the run ended before its end was due: {run.communicate()[0]}"
        run.kill()
        run.communicate()
    proxy.close()


def all_slates(redis: Redis) -> dict[tuple[str, int], tuple[str, str, list[str]]]:
    """What a server that starts now answers to every user in every bucket: generation, rung and posts."""
    lookup, live = Lookup(redis, KEYS), live_generation(redis, KEYS)
    assert live is not None
    user_ids = [key.rpartition(":")[2] for key in keys_of(redis, live.id) if ":user:" in key]
    found: dict[tuple[str, int], tuple[str, str, list[str]]] = {}
    for user_id in user_ids:
        for bucket in range(live.first_bucket, live.last_bucket + 1):
            feed = lookup.feed(user_id, bucket, TOP_N)
            found[user_id, bucket] = (feed.generation, feed.rung, feed.post_ids)
    return found


def keys_of(redis: Redis, generation: str) -> set[str]:
    return {key.decode() for key in redis.scan_iter(f"hourfeed:gen:{generation}*")}


def keys_without_ttl(redis: Redis) -> set[str]:
    return {key.decode() for key in redis.scan_iter() if redis.ttl(key) == -1}


def assert_whole(redis: Redis, generation: str) -> None:
    slates = all_slates(redis)
    assert len(slates) == N_USERS * HOURS
    assert {(where, rung) for where, rung, _ in slates.values()} == {(generation, "exact")}
    assert {len(post_ids) for *_, post_ids in slates.values()} == {TOP_N}


def run_promptly(settings: BatchSettings) -> Manifest:
    begun = time.monotonic()
    manifest = publish_once(settings, AS_OF)
    assert time.monotonic() - begun < LOCK_TTL_S / 2, "it waited for the lock of a dead run"
    return manifest


# The mark before which the run is cut off, how many marks pass before, and the users it has written by then.
BEFORE_BEGIN = (b"ZADD", 1), 0
BEFORE_THE_50TH_USER = (b":user:", 2 * 49 + 1), 49  # a user's key is named by HSET and by EXPIRE
BEFORE_THE_EXPIRY_OF_THE_50TH_USER = (b":user:", 2 * 49 + 2), 49
BEFORE_THE_SHARD_IS_NOTED = (b":shards", 1), 200
AFTER_VERIFY = (b"hash-max-", 2), 200  # asked for the forecast first
WITHIN_THE_FLIP = (b"superseded", 1), 200


@pytest.mark.parametrize(
    ("proxy", "users_written", "following"),
    [
        (*BEFORE_BEGIN, NEXT),
        (*BEFORE_THE_50TH_USER, NEXT),
        (*BEFORE_THE_EXPIRY_OF_THE_50TH_USER, NEXT),
        (*BEFORE_THE_SHARD_IS_NOTED, NEXT),
        (*AFTER_VERIFY, KILLED),  # what is left is whole, and the next run would write the same: it takes it over
        (*WITHIN_THE_FLIP, KILLED),
    ],
    indirect=["proxy"],
)
def test_a_batch_killed_while_it_publishes_is_as_if_it_had_not_been(
    settings: BatchSettings, redis_client: Redis, proxy: StallingProxy, users_written: int, following: str
) -> None:
    assert_whole(redis_client, FIRST)
    before = all_slates(redis_client)

    kill_batch_when_it_stalls(settings, proxy)
    assert sum(":user:" in key for key in keys_of(redis_client, KILLED)) == users_written
    assert redis_client.get(KEYS.current) == FIRST.encode()
    assert all_slates(redis_client) == before
    assert keys_without_ttl(redis_client) == LASTING
    assert redis_client.pttl(KEYS.lock) > LOCK_TTL_S / 2 * 1000

    assert run_promptly(settings).previous == FIRST
    assert_whole(redis_client, following)
    assert {generation for generation in (KILLED, NEXT) if keys_of(redis_client, generation)} == {following}
    assert redis_client.zrange(KEYS.generations, 0, -1) == [FIRST.encode(), following.encode()]
    assert keys_without_ttl(redis_client) == LASTING
    assert not redis_client.exists(KEYS.lock)


@pytest.mark.parametrize("proxy", [(b"UNLINK", 3)], indirect=True)  # the first is of the shards' summaries
def test_a_batch_killed_while_it_clears_away_has_published(
    settings: BatchSettings, redis_client: Redis, proxy: StallingProxy
) -> None:
    publish_once(settings, AS_OF)
    kill_batch_when_it_stalls(settings, proxy)
    assert redis_client.get(KEYS.current) == b"20211230T000000-3"
    assert_whole(redis_client, "20211230T000000-3")
    assert keys_of(redis_client, "20211230T000000-1") != set()
    assert keys_without_ttl(redis_client) == LASTING

    assert run_promptly(settings).previous == "20211230T000000-3"
    assert keys_of(redis_client, "20211230T000000-1") == keys_of(redis_client, "20211230T000000-2") == set()
    assert keys_without_ttl(redis_client) == LASTING
