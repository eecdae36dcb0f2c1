"""The plan: what a run will take, before it begins. Seconds by stage, peak memory, and bytes in Redis.

Seconds go by how far the last run got in a second: each stage's time grows with one size. Where no run has been
published yet, or none of that kind, they go by those of a reference machine, and by how quick this one is beside it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from batch.errors import BatchError
from batch.passes import count, order_by
from batch.settings import BatchSettings
from slates.forecast import Sizes, Store, generation_bytes, posts_bytes
from slates.keys import Keys, escape_id
from slates.manifest import Manifest
from source.engine import database_errors
from source.existing import ExistingTable, find_table
from source.tables import KEYS

_SAMPLE = 1_000
_PROBE_EVENTS = 2_000_000


@dataclass(frozen=True)
class Counts:
    """Rows in the database, and mean bytes of an id and of a post's text and topic, of the first 1,000 rows."""

    users: int
    posts: int
    events: int
    user_id_bytes: float
    post_id_bytes: float
    text_bytes: float


@dataclass(frozen=True)
class Plan:
    """What a run will take. seconds : by stage. memory_bytes : at its peak. redis_bytes : of one generation.

    posts_bytes : of the posts in Redis, which generations share. measured : whether seconds go by an earlier run.
    """

    seconds: Mapping[str, float]
    memory_bytes: float
    redis_bytes: int
    posts_bytes: int
    measured: bool


@dataclass(frozen=True)
class _Cost:
    """Seconds of a stage on the reference machine: `fixed`, and `each` for one of its unit."""

    unit: str
    each: float
    fixed: float = 0.0


_COSTS = {
    "read": _Cost("events", 1.1e-7, 0.2),
    "features": _Cost("events", 8.0e-8, 1.0),
    "gate": _Cost("events", 8.0e-6, 10.0),
    "train": _Cost("events", 4.7e-6, 10.0),
    "rank": _Cost("events", 1.1e-7, 0.2),
    "slate": _Cost("pairs", 3.0e-7),
    "publish": _Cost("slates", 2.7e-6),
    "verify": _Cost("users", 2.6e-5),
}
_FIRST_READ = 1.8e-6
"""Seconds an event where the event log is still to be made."""
_ONLY_WHEN_TRAINING = {"gate", "train"}
_PROBE_S = 0.02
"""What the probe takes on the reference machine."""
_MEMORY_FIXED, _MEMORY_EVENT, _MEMORY_TABLE = 0.45e9, 76.0, 12.0


def count_rows(engine: Engine, settings: BatchSettings) -> Counts:
    """Count what a run would read; raises BatchError where there is no table of events."""
    with database_errors(engine, "counting rows"), engine.connect() as connection:
        found = {kind: find_table(connection, settings.source, kind) for kind in KEYS}
        events = found["events"]
        if events is None:
            msg = f"there is no table {settings.source.events.table}; load events with `hourfeed load`"
            raise BatchError(msg)
        n_users, user_id_bytes, _ = _look(connection, found["users"], "user_id")
        n_posts, post_id_bytes, text_bytes = _look(connection, found["posts"], "post_id")
        n_events = int(connection.execute(select(func.count(events.columns["timestamp"]))).scalar_one())
    return Counts(n_users, n_posts, n_events, user_id_bytes, post_id_bytes, text_bytes)


def _look(connection: Connection, table: ExistingTable | None, key: str) -> tuple[int, float, float]:
    """Return rows, and mean bytes of an id and of text and topic."""
    if table is None:
        return 0, 0.0, 0.0
    rows = int(connection.execute(select(func.count(table.columns[key]))).scalar_one())
    texts = [table.columns[name] for name in ("text", "topic") if name in table.columns]
    sample = connection.execute(select(table.id_column(key), *texts).where(table.has_id(key)).limit(_SAMPLE)).all()
    ids = [len(escape_id(str(row[0]))) for row in sample]
    lengths = [sum(len(str(value or "").encode()) for value in row[1:]) for row in sample]
    return rows, float(np.mean(ids or [0])), float(np.mean(lengths or [0]))


def make_plan(
    settings: BatchSettings, counts: Counts, store: Store, last: Manifest | None, *, trains: bool, first_read: bool
) -> Plan:
    """Plan a run over rows of these counts; `last` is the generation of the latest run, if there is one."""
    sizes = Sizes(
        users=counts.users,
        hours=settings.hours,
        top_n=settings.top_n,
        codec=settings.codec,
        post_id_bytes=counts.post_id_bytes,
        user_id_bytes=counts.user_id_bytes,
        posts=counts.posts,
        key_bytes=len(Keys(settings.prefix).user("20211220T150000-100", "")),
    )
    units = _units(counts.events, counts.users, counts.posts, settings.hours)
    before = {} if last is None or not last.events else _units(last.events, last.users, last.posts, last.hours)
    known = {} if last is None else dict(last.seconds)
    slowness = 1.0 if before else _slowness()
    seconds = {}
    for stage, cost in _COSTS.items():
        if stage in _ONLY_WHEN_TRAINING and not trains:
            continue
        own = cost.fixed + cost.each * units[cost.unit]
        if stage == "read" and first_read:
            own = _FIRST_READ * units["events"]
        elif before and known.get(stage):
            own *= known[stage] / (cost.fixed + cost.each * before[cost.unit])
        else:
            own *= slowness
        seconds[stage] = own
    memory = _MEMORY_FIXED + _MEMORY_EVENT * counts.events + _MEMORY_TABLE * min(counts.posts, 20_000) ** 2
    texts = posts_bytes(counts.posts, counts.text_bytes, counts.post_id_bytes, store)
    return Plan(seconds, memory, generation_bytes(sizes, store), texts, measured=bool(before))


def _units(events: int, users: int, posts: int, hours: int) -> dict[str, int]:
    return {"events": events, "users": users, "pairs": users * posts, "slates": users * hours}


def _slowness() -> float:
    """Return how many times as long as the reference machine this one takes for a pass over events: best of three."""
    index = (np.arange(_PROBE_EVENTS) * 7_919 % 65_536).astype(np.int32)
    start = np.concatenate(([0], np.cumsum(count(index, 65_536))))
    order_by(index, start)  # compiled
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        order_by(index, start)
        taken.append(time.perf_counter() - begun)
    return min(taken) / _PROBE_S
