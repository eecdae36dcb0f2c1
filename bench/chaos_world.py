"""What `bench.chaos` spoils: a tiny network in Postgres, a Redis with its log, a server, and batches to be killed.

Batches differ in their as-of time, so in their events, and in their ranker. What each must publish is known from a run
on another Redis where nothing was spoiled, so that a slate of another input is told from the right one.
"""

import contextlib
import http.client
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from redis import Redis
from sqlalchemy import text

from bench.drain import Revived, free_ports
from bench.errors import BenchError
from bench.generation import Digests, differing_keys, digest_slates
from bench.nursery import Ended, Nursery
from bench.proxy import Proxy
from bench.serve import Server, gunicorn_hourfeed, served
from demo.parameters import Parameters
from demo.postgres import create_database, temporary_postgres
from demo.services import hold_redis, redis_binary
from demo.simulate import simulate
from slates.bucket import bucket_field, bucket_of
from slates.client import REDIS_AWAY, connect
from slates.codec import decode_slate
from slates.generations import live_generation
from slates.keys import Keys
from slates.manifest import Manifest
from source.engine import open_engine
from source.schema import SourceSchema

END = datetime(2021, 12, 30, tzinfo=UTC)
NETWORK = Parameters(users=100, posts=200, days=5, end=END)
KEYS = Keys()
LIMIT = 5
WITHIN_S = 60.0
_HOURS, _TOP_N = 12, 10
_RANKERS = ("random", "item_knn_recency", "random", "lightgbm")
_INPUTS = 8
_USERS_ASKED = 40
_SMALL = {
    "HOURFEED_HOURS": str(_HOURS),
    "HOURFEED_TOP_N": str(_TOP_N),
    "HOURFEED_KEEP_GENERATIONS": "2",
    "HOURFEED_GATE_DAYS": "0",
    "HOURFEED_TREES": "10",
    "HOURFEED_TRAIN_GROUPS": "100",
    "HOURFEED_PUBLISH_BATCH": "10",
}
"""So that a run is short, and that publishing takes several round trips."""


@dataclass(frozen=True)
class Expected:
    """What a run of one input publishes, and the seconds that it takes.

    feeds : user → slate of the bucket that is asked for. popular, segments : those slates of that bucket.
    """

    digests: Digests
    feeds: Mapping[str, Sequence[str]]
    popular: Sequence[str]
    segments: Sequence[Sequence[str]]
    seconds: float


@dataclass
class World:
    """All parts, each of which may be spoiled; `mend` undoes what was done to them."""

    folder: Path
    redis: Revived
    redis_url: str
    database_url: str
    to_redis: Proxy = field(repr=False)
    """The batch's way to Redis."""
    server_to_redis: Proxy = field(repr=False)
    to_database: Proxy = field(repr=False)
    server: Server
    nursery: Nursery = field(repr=False)
    expected: Sequence[Expected] = field(repr=False)
    texts: Mapping[str, str] = field(repr=False)
    """Of all posts, by id."""

    def mend(self, *, unless_cut: bool = False) -> None:
        """Let the proxies work as if nothing had been; with `unless_cut` a cut that is due still comes."""
        for proxy in (self.to_redis, self.server_to_redis, self.to_database):
            proxy.recover(unless_cut=unless_cut)

    @property
    def user_ids(self) -> list[str]:
        """Return the users whose feeds are asked for."""
        return list(self.expected[0].feeds)

    def client(self) -> Redis:
        """Return a client that does not go through a proxy."""
        return connect(self.redis_url, timeout_s=2.0, retries=1)

    def start(self, number: int, *options: str, file_bytes: int | None = None) -> int:
        """Start the batch of an input, and return its pid."""
        environment = _environment(number, self.to_database.url, self.to_redis.url, self.folder / "state")
        return self.nursery.start(_command(number, *options), environment, file_bytes)

    def publish(self, number: int) -> Ended:
        """Run the batch of an input to its end."""
        self.start(number)
        return self.nursery.wait()

    def live_input(self) -> int | None:
        """Return the input of the live generation where it is as expected, key by key; None where it is not."""
        with self.client() as redis:
            live = live_generation(redis, KEYS)
            if live is None or live.state != "live":
                return None
            number = input_of(live.id)
            found = digest_slates(redis, KEYS, live.id)
        return None if differing_keys(found, self.expected[number].digests) else number

    def await_redis(self) -> None:
        """Return when Redis answers, its log read; raise BenchError when it does not."""
        deadline = time.monotonic() + WITHIN_S
        with self.client() as redis:
            while time.monotonic() < deadline:
                with contextlib.suppress(*REDIS_AWAY):
                    if redis.ping():
                        return
                time.sleep(0.02)
        raise BenchError("Redis does not come back")

    def worker_pids(self) -> list[int]:
        """Return the server's workers."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


def input_of(generation: str) -> int:
    """Return the number of the input that a generation was made of, by its as-of time; -1 for one of no input."""
    as_of = datetime.strptime(generation.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    hours = int((as_of - _as_of(0)).total_seconds() // 3600)
    return hours if 0 <= hours < _INPUTS and _as_of(hours) == as_of else -1


def _as_of(number: int) -> datetime:
    return END - timedelta(hours=_INPUTS - number)


def asked_at() -> datetime:
    """Return the time for which feeds are asked: in a bucket that runs of all inputs publish."""
    return END + timedelta(hours=1)


def _command(number: int, *options: str) -> list[str]:
    return ["batch", "--as-of", _as_of(number).isoformat(), "--force", *options]


def _environment(number: int, database_url: str, redis_url: str, state: Path) -> dict[str, str]:
    ranker = {"HOURFEED_RANKER": _RANKERS[number % len(_RANKERS)]}
    return {**_SMALL, **ranker, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "HOURFEED_STATE": str(state)}


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make everything, publish once, and yield with the server up."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(temporary_postgres(folder / "postgres"))
        database_url = create_database(server, "chaos")
        texts = _fill(database_url, folder)
        nursery = stack.enter_context(Nursery())
        expected = _expected_of_all(nursery, database_url, folder)
        redis, redis_url = _redis(folder)
        stack.callback(redis.kill)
        to_redis, server_to_redis = (stack.enter_context(Proxy(redis_url)) for _ in range(2))
        to_database = stack.enter_context(Proxy(database_url))
        redis.start()
        with connect(redis_url) as client:
            _await_start(client)
        environment = _environment(0, database_url, redis_url, folder / "state")
        nursery.start(_command(0), environment)
        ended = nursery.wait()
        if ended.status:
            raise BenchError(f"the first batch failed: {ended.said}")
        # Errors alone: what the server says of an absent Redis would fill the pipe, which nobody reads.
        # A longer time-out, as one that passes because the machine is busy would count as a fault.
        settings = {
            "HOURFEED_REDIS_TIMEOUT_S": "1.5",
            "HOURFEED_FRESH_FOR_H": "1e6",
            "HOURFEED_LOG_LEVEL": "error",
            "HOURFEED_STATE": str(folder / "web"),
        }
        running = stack.enter_context(
            served(gunicorn_hourfeed(), "/readyz", REDIS_URL=server_to_redis.url, HOURFEED_WORKERS="2", **settings)
        )
        ways = to_redis, server_to_redis, to_database
        yield World(folder, redis, redis_url, database_url, *ways, running, nursery, expected, texts)


def _redis(folder: Path) -> tuple[Revived, str]:
    (port,) = free_ports(1)
    (folder / "redis").mkdir()
    options = f"--bind 127.0.0.1 --port {port} --appendonly yes --dir {folder / 'redis'} --hash-max-listpack-value 1024"
    return Revived((redis_binary(), *options.split(), "--save", ""), folder, {}), f"redis://127.0.0.1:{port}/0"


def _await_start(client: Redis) -> None:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(*REDIS_AWAY):
            client.ping()
            return
        time.sleep(0.02)
    raise BenchError("Redis does not start")


def _fill(database_url: str, folder: Path) -> dict[str, str]:
    engine = open_engine(database_url, folder)
    try:
        simulate(NETWORK, engine, SourceSchema(), folder)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT post_id, text FROM post_text_df")).all()
    finally:
        engine.dispose()
    return {str(post_id): str(of_post) for post_id, of_post in rows}


def _expected_of_all(nursery: Nursery, database_url: str, folder: Path) -> list[Expected]:
    """Publish each input in a Redis of its own, undisturbed, and read what is there then."""
    state = folder / "undisturbed"
    expected = []
    with hold_redis(folder / "undisturbed-redis") as held, connect(held.url) as redis:
        for number in range(_INPUTS):
            environment = _environment(number, database_url, held.url, state)
            if number < len(_RANKERS):
                nursery.warm_up(_command(number), environment)
            begun = time.perf_counter()
            nursery.start(_command(number), environment)
            ended = nursery.wait()
            seconds = time.perf_counter() - begun
            live = live_generation(redis, KEYS)
            if ended.status or live is None or input_of(live.id) != number:
                raise BenchError(f"an undisturbed batch failed: {ended.said}")
            expected.append(_expected(redis, live, seconds))
    return expected


def _expected(redis: Redis, live: Manifest, seconds: float) -> Expected:
    digests = digest_slates(redis, KEYS, live.id)
    bucket = bucket_field(bucket_of(asked_at()))

    def slate(key: str) -> list[str]:
        return decode_slate(cast("bytes | None", redis.hget(key, bucket)) or b"")

    users = sorted(name.removeprefix("user:") for name in digests if name.startswith("user:"))
    segments = [name for name in digests if name.startswith("segment:")]
    stem = KEYS.generation(live.id)
    chosen = random.Random(0).sample(users, _USERS_ASKED)  # noqa: S311 - no secret
    return Expected(
        digests,
        {user: slate(f"{stem}:user:{user}") for user in chosen},
        slate(KEYS.popular(live.id)),
        [slate(f"{stem}:{segment}") for segment in segments],
        seconds,
    )


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask for a path; return status, headers and body."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()
