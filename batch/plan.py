"""The plan: what a run will take, before it begins. Seconds by stage, peak memory, and bytes in Redis.

Seconds go by how far the last run got in a second: each stage's time grows with one size. What it did not do goes by a
reference machine, and by how quick the last run was beside that; where no run has been published yet, by how quick this
machine is at a small probe.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, LargeBinary, String, cast, func, select

from batch.errors import BatchError
from batch.forecast import Counts, sizes_of
from batch.passes import count, order_by
from batch.replay_pool import cores
from batch.settings import BatchSettings
from slates.forecast import Store, generation_bytes, posts_bytes
from slates.keys import escape_id
from slates.manifest import Manifest
from source.engine import database_errors
from source.existing import ExistingTable, find_table
from source.tables import KEYS

_SAMPLE = 1_000
_CORES = 2
"""Of the reference machine."""
_PROBE_EVENTS = 2_000_000


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
    """Seconds of a stage on the reference machine: `fixed`, and `each` for one of its unit.

    on_all_cores : with twice as many as the reference machine has it takes half as long.
    """

    unit: str
    each: float
    fixed: float = 0.0
    on_all_cores: bool = False

    def seconds(self, units: Mapping[str, int], cores: int = _CORES) -> float:
        """Return the seconds on the reference machine, were it to have so many cores."""
        return (self.fixed + self.each * units[self.unit]) * (_CORES / cores if self.on_all_cores else 1)


_COSTS = {
    "start": _Cost("users", 5.0e-5, 3.0),  # of the command, and its end: not in a manifest
    "read": _Cost("events", 8.3e-8, 0.4),
    "features": _Cost("events", 7.5e-8, 0.3),
    "gate": _Cost("events", 4.6e-6, 12.0),
    "train": _Cost("events", 1.4e-6, 5.0),
    "rank": _Cost("events", 6.0e-8, 0.1),
    "similar": _Cost("events", 5.5e-7, 0.2, on_all_cores=True),
    "slate": _Cost("pairs", 9.5e-8, on_all_cores=True),
    "publish": _Cost("slates", 2.0e-6, 0.4, on_all_cores=True),
    "verify": _Cost("users", 2.0e-5),
}
"""Measured with a tenth of the reference network's users, and at the reference scale where it was (bench.scale)."""
_FIRST_READ = _Cost("events", 6.9e-7, 0.3)
"""Where the event log is still to be made."""
_ONLY_WHEN_TRAINING = {"gate", "train"}
_TOO_SHORT_S = 0.05
"""Of a stage that the last run took less for nothing is learned: most likely it had nothing to do."""
_PROBE_S = 0.0084
"""What the probe takes on the reference machine."""
_MEMORY_FIXED, _MEMORY_EVENT, _MEMORY_TABLE = 0.8e9, 62.0, 4.0
_SEGMENTS, _SEGMENT_BYTES = 48, 20.0
"""Segments of a network whose profiles nobody has looked at yet, and the length of a name."""


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
    """Return rows, and mean bytes of an id and of text and topic; how many of them are escapes, a sample tells."""
    if table is None:
        return 0, 0.0, 0.0
    ids, texts = table.columns[key], [table.columns[name] for name in ("text", "topic") if name in table.columns]
    means = [func.avg(_bytes_of(connection, column)) for column in (ids, *texts)]
    rows, id_bytes, *text_bytes = connection.execute(select(func.count(ids), *means)).one()
    sample = connection.execute(select(table.id_column(key)).where(table.has_id(key)).limit(_SAMPLE)).scalars()
    escaped = [len(escape_id(str(found))) - len(str(found)) for found in sample]
    return (
        int(rows),
        float(id_bytes or 0) + float(np.mean(escaped or [0])),
        float(sum(map(float, filter(None, text_bytes)))),
    )


def _bytes_of(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the bytes of a value as text, NULL counting for none."""
    text = func.coalesce(cast(column, String), "")
    return func.octet_length(text) if connection.dialect.name == "postgresql" else func.length(cast(text, LargeBinary))


def make_plan(
    settings: BatchSettings, counts: Counts, store: Store, last: Manifest | None, *, trains: bool, first_read: bool
) -> Plan:
    """Plan a run over rows of these counts; `last` is the generation of the latest run, if there is one."""
    units = _units(counts.events, counts.users, counts.posts, settings.hours)
    before = {} if last is None or not last.events else _units(last.events, last.users, last.posts, last.hours)
    taken = dict(last.seconds) if last is not None and before else {}
    known = {stage: taken[stage] for stage in _COSTS if taken.get(stage, 0.0) > _TOO_SHORT_S}
    n_cores = cores()
    expected = sum(_COSTS[stage].seconds(before, n_cores) for stage in known)
    slowness = sum(known.values()) / expected if known else _slowness()
    seconds = {}
    for stage, cost in _COSTS.items():
        if stage in _ONLY_WHEN_TRAINING and not trains:
            continue
        if stage == "read" and first_read:
            seconds[stage] = _FIRST_READ.seconds(units) * slowness
        elif stage in known:
            seconds[stage] = known[stage] * cost.seconds(units) / cost.seconds(before)
        else:
            seconds[stage] = cost.seconds(units, n_cores) * slowness
    memory = _MEMORY_FIXED + _MEMORY_EVENT * counts.events + _MEMORY_TABLE * min(counts.posts, 20_000) ** 2
    sizes = sizes_of(settings, counts, last.segments if last else _SEGMENTS, _SEGMENT_BYTES)
    texts = posts_bytes(counts.posts, counts.text_bytes, counts.post_id_bytes, store)
    return Plan(seconds, memory, generation_bytes(sizes, store), texts, measured=bool(known))


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
