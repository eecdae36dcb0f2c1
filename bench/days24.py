"""24 days of hourly refreshes, time compressed: `python -m bench.days24`, or `make chaos ARGS="--only days"`.

A simulated network goes on by an hour a run: its events come in, new posts come, old ones go. After each run all that
Redis holds is made an hour older, so that keys expire as they would, and feeds are asked for. Memory, latency and the
state folder must not creep.
"""

import contextlib
import http.client
import itertools
import json
import math
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Engine, text

from bench.chaos_world import get
from bench.nursery import Nursery
from bench.serve import Server, gunicorn_hourfeed, served
from bench.service import open_connection
from demo.parameters import Parameters
from demo.services import hold_redis
from demo.simulate import simulate
from slates.client import connect
from slates.generations import live_generation
from slates.keys import Keys
from source.engine import open_engine
from source.schema import SourceSchema

DAYS = 24
_BEFORE_D = 6
"""Days of log before the first run."""
_POSTS_IN_30_DAYS = 800
_POSTS = 100
"""In the table of posts, the newest: always as many, so that what grows is not the catalogue."""
_FOLLOWS_WITHIN_S = 1.0
_ASKED = 40
"""Feeds, and as many answers that need no Redis, after each run."""
_SETTLED_D, _WEEK = 2, 7
"""From this day on nothing may creep: keys live a day. Then a first week and a last are compared."""
_HOUR_S = 3600
_TABLES = {"feed_data": "timestamp", "post_text_df": "published_at"}
_KEYS = Keys()
_SETTINGS = {
    "HOURFEED_HOURS": "12",
    "HOURFEED_TOP_N": "10",
    "HOURFEED_GENERATION_TTL_H": "24",
    "HOURFEED_GATE_DAYS": "0",
    "HOURFEED_TREES": "40",
    "HOURFEED_TRAIN_GROUPS": "1000",
}


@dataclass
class Hour:
    """What was seen after one run: bytes, counts, and the seconds of answers with and without Redis."""

    memory: int
    data: int
    keys: int
    run_s: float
    feed_s: Sequence[float] = field(repr=False)
    bare_s: Sequence[float] = field(repr=False)


@dataclass
class Days:
    """All hours, what went wrong, and what was left in the end."""

    hours: list[Hour] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    not_exact: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    events: int = 0
    event_log_bytes: int = 0
    models: int = 0
    rest_bytes: list[int] = field(default_factory=list)
    """Of the state folder without event log and models, after each run."""
    worker_mb: list[float] = field(default_factory=list)


def live_through(days: float) -> Days:
    """Let so many simulated days pass."""
    seen = Days()
    log_d = math.ceil(days) + _BEFORE_D
    parameters = Parameters(users=150, posts=_POSTS_IN_30_DAYS * log_d // 30, days=log_d, half_life_d=1.0)
    begin = parameters.end - timedelta(days=math.ceil(days))
    with tempfile.TemporaryDirectory(prefix="hourfeed-days-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        engine = open_engine(None, folder)
        stack.callback(engine.dispose)
        simulate(parameters, engine, SourceSchema(), folder)
        _set_aside(engine)
        users = _user_ids(engine)
        _let_come(engine, datetime(1970, 1, 1, tzinfo=UTC), begin - timedelta(hours=1))  # posts older than the log too
        held = stack.enter_context(hold_redis(folder / "servers"))
        redis = stack.enter_context(connect(held.url))
        nursery = stack.enter_context(Nursery())
        state = folder / "state"
        environment = {
            **_SETTINGS,
            "DATABASE_URL": str(engine.url),
            "REDIS_URL": held.url,
            "HOURFEED_STATE": str(state),
        }
        nursery.warm_up(_command(begin), environment)
        server = stack.enter_context(_server(held.url, folder))
        for number in range(round(days * 24)):
            now = begin + timedelta(hours=number)
            _let_come(engine, now - timedelta(hours=1), now)
            begun = time.perf_counter()
            nursery.start(_command(now), environment)
            ended = nursery.wait()
            run_s = time.perf_counter() - begun
            if ended.status:
                seen.failed.append(f"{now}: {ended.said[-1000:]}")
            _make_older(redis, _HOUR_S)
            feed_s, bare_s = _ask(server, redis, now, users, seen)
            memory = redis.info("memory")
            size = int(redis.dbsize())
            seen.hours.append(Hour(memory["used_memory"], memory["used_memory_dataset"], size, run_s, feed_s, bare_s))
            seen.rest_bytes.append(_bytes(state) - _bytes(state / "event-log") - _bytes(state / "models"))
            seen.worker_mb.append(server.worker_mb())
            if (number + 1) % 24 == 0:
                print(f"{time.strftime('%H:%M:%S')} day {(number + 1) // 24}: {seen.hours[-1]}", flush=True)
        live = live_generation(redis, _KEYS)
        seen.events = live.events if live else 0
        seen.event_log_bytes = _bytes(state / "event-log")
        seen.models = sum(path.is_dir() for path in (state / "models").glob("*"))
    return seen


def figures(seen: Days) -> dict[str, float]:
    """Return the figures; what compares days is left out where there are too few."""
    told: dict[str, float] = {
        "runs": len(seen.hours),
        "runs_failed": len(seen.failed),
        "run_median_s": round(statistics.median(hour.run_s for hour in seen.hours), 2),
        "lookups.n": sum(len(hour.feed_s) for hour in seen.hours),
        "lookups.not_exact": seen.not_exact,
        **{f"lookups.rung.{rung}": count for rung, count in sorted(seen.rungs.items())},
        "event_log.events": seen.events,
        "event_log.bytes_per_event": round(seen.event_log_bytes / max(1, seen.events), 1),
        "state.models": seen.models,
        "state.rest_kb": round(max(seen.rest_bytes) / 1e3, 1),
    }
    days = by_day(seen)[_SETTLED_D:]
    if len(days) < 2 * _WEEK:
        return told
    first, last = days[:_WEEK], days[-_WEEK:]
    return told | {
        "memory.mb": round(days[0]["memory_mb"], 3),
        "memory.spread": _spread([day["memory_mb"] for day in days]),
        "memory.data_spread": _spread([day["data_mb"] for day in days]),
        "keys.spread": _spread([day["keys"] for day in days]),
        "latency.p50_ms.first_week": _mean(first, "p50_ms"),
        "latency.p50_ms.last_week": _mean(last, "p50_ms"),
        "latency.p99_ms.first_week": _mean(first, "p99_ms"),
        "latency.p99_ms.last_week": _mean(last, "p99_ms"),
        "latency.p50_drift": _drift(first, last, "p50_ms", "bare_p50_ms"),
        "latency.p99_drift": _drift(first, last, "p99_ms", "bare_p99_ms"),
        "worker.mb_first": round(max(seen.worker_mb[24 * _SETTLED_D :][:24]), 1),
        "worker.mb_last": round(max(seen.worker_mb[-24:]), 1),
    }


def by_day(seen: Days) -> list[Mapping[str, float]]:
    """Return means of memory (MB) and of keys, and quantiles of latencies (ms), for each whole day."""
    days: list[Mapping[str, float]] = []
    for begin in range(0, len(seen.hours) - 23, 24):
        hours = seen.hours[begin : begin + 24]
        feeds = sorted(itertools.chain.from_iterable(hour.feed_s for hour in hours))
        bare = sorted(itertools.chain.from_iterable(hour.bare_s for hour in hours))
        days.append(
            {
                "memory_mb": statistics.fmean(hour.memory for hour in hours) / 1e6,
                "data_mb": statistics.fmean(hour.data for hour in hours) / 1e6,
                "keys": statistics.fmean(hour.keys for hour in hours),
                "p50_ms": 1e3 * _quantile(feeds, 0.5),
                "p99_ms": 1e3 * _quantile(feeds, 0.99),
                "bare_p50_ms": 1e3 * _quantile(bare, 0.5),
                "bare_p99_ms": 1e3 * _quantile(bare, 0.99),
            }
        )
    return days


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _spread(values: Sequence[float]) -> float:
    """Return how far the highest lies above the lowest, as a share of it."""
    return round(max(values) / min(values) - 1, 4)


def _mean(days: Sequence[Mapping[str, float]], name: str) -> float:
    return round(statistics.fmean(day[name] for day in days), 3)


def _drift(first: Sequence[Mapping[str, float]], last: Sequence[Mapping[str, float]], name: str, beside: str) -> float:
    """Return the last week's latency over the first's, each as a multiple of answers that need no Redis.

    These were asked for in turn with the feeds, so that a machine that is busier in one week counts in both.
    """
    early, late = (statistics.median(day[name] / day[beside] for day in week) for week in (first, last))
    return round(late / early, 3)


def _command(now: datetime) -> list[str]:
    # By force: among so few users the ranker may well give nearly all of them the same.
    return ["batch", "--refresh", "--force", "--as-of", now.isoformat()]


def _set_aside(engine: Engine) -> None:
    """Put all rows of events and posts where no batch looks, and make the tables again, empty."""
    with engine.begin() as connection:
        for table, moment in _TABLES.items():
            query = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
            made = connection.execute(query, {"name": table}).scalar_one()
            connection.execute(text(f"ALTER TABLE {table} RENAME TO all_{table}"))
            connection.execute(text(made))
            connection.execute(text(f"CREATE INDEX {table}_by_time ON {table} ({moment})"))
            connection.execute(text(f"CREATE INDEX all_{table}_by_time ON all_{table} ({moment})"))


def _let_come(engine: Engine, begin: datetime, end: datetime) -> None:
    """Let the events and posts of a time come in, and the oldest posts go."""
    values: dict[str, Any] = {"begin": _written(begin), "end": _written(end)}
    with engine.begin() as connection:
        for table, moment in _TABLES.items():
            rows = f"SELECT * FROM all_{table} WHERE {moment} >= :begin AND {moment} < :end"  # noqa: S608 - our own
            connection.execute(text(f"INSERT INTO {table} {rows}"), values)
        newest = "SELECT post_id FROM post_text_df ORDER BY published_at DESC, post_id LIMIT :posts"
        old = f"DELETE FROM post_text_df WHERE post_id NOT IN ({newest})"  # noqa: S608
        connection.execute(text(old), {"posts": _POSTS})


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@contextlib.contextmanager
def _server(redis_url: str, folder: Path) -> Iterator[Server]:
    # A longer time-out, as one that passes because the machine is busy would count as a fault.
    settings = {
        "HOURFEED_REDIS_TIMEOUT_S": "5",
        "HOURFEED_WORKERS": "1",
        "HOURFEED_LOG_LEVEL": "error",
        "HOURFEED_STATE": str(folder / "web"),
    }
    with served(gunicorn_hourfeed(), "/healthz", REDIS_URL=redis_url, HOURFEED_FRESH_FOR_H="1e6", **settings) as server:
        yield server


def _make_older(redis: Redis, by_s: int) -> None:
    """Take time off what each key has left, as if it had passed; what has none left goes."""
    names = list(redis.scan_iter(count=5_000))
    with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.ttl(name)
        left = pipeline.execute()
    with redis.pipeline(transaction=False) as pipeline:
        for name, left_s in zip(names, left, strict=True):
            if left_s >= 0:
                pipeline.expire(name, max(0, left_s - by_s))
        pipeline.execute()


def _user_ids(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT user_id FROM user_data ORDER BY user_id")).scalars())[:_ASKED]


def _ask(
    server: Server, redis: Redis, now: datetime, users: Sequence[int], seen: Days
) -> tuple[list[float], list[float]]:
    """Ask for feeds and, in turn, for what needs no Redis; return the seconds of both."""
    live = live_generation(redis, _KEYS)
    feed_s, bare_s = [], []
    with contextlib.closing(open_connection(server.url)) as connection:
        # While one of its threads loads a generation, the others go on with the one before.
        deadline = time.monotonic() + _FOLLOWS_WITHIN_S
        while live is not None and json.loads(get(connection, "/readyz")[2])["generation"] != live.id:
            if time.monotonic() > deadline:
                break
        for user in users:
            path = f"/post/recommendations/?limit=5&time={now:%Y-%m-%dT%H:%M}&id={user}"
            taken, (status, headers, body) = _timed(connection, path)
            feed_s.append(taken)
            bare_s.append(_timed(connection, "/healthz")[0])
            rung, generation = headers["X-Hourfeed-Rung"], headers["X-Hourfeed-Generation"]
            seen.rungs[rung] += 1
            right = status == http.HTTPStatus.OK and rung == "exact" and live is not None and generation == live.id
            seen.not_exact += not (right and len(re.findall(rb'"id":', body)) == 5)
    return feed_s, bare_s


def _timed(
    connection: http.client.HTTPConnection, path: str
) -> tuple[float, tuple[int, http.client.HTTPMessage, bytes]]:
    begun = time.perf_counter()
    answer = get(connection, path)
    return time.perf_counter() - begun, answer


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
