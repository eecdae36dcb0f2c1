"""The figures and pictures of docs/reliability.md."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.blocks import table
from bench.chaos_faults import FAULTS
from bench.figures import Figures
from bench.picture import standalone
from charts.svg import Point, Series

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "reliability.md"
_FAULT_NAMES = {
    "redis_stopped": "Redis killed, back with its data",
    "redis_emptied": "Redis killed, back empty",
    "redis_hung": "Redis paused",
    "redis_full": "Redis out of memory",
    "redis_slow": "Redis slow",
    "batch_cut_off": "batch cut off from Redis amid an answer",
    "server_cut_off": "server cut off from Redis amid answers",
    "batch_refused": "batch kept from Redis",
    "database_crashed": "Postgres crashed",
    "database_cut_off": "batch cut off from Postgres amid its rows",
    "database_refused": "batch kept from Postgres",
    "database_hung": "Postgres hung",
    "worker_killed": "worker of the server killed",
    "worker_killed_without_redis": "worker killed while Redis is away",
    "disk_full": "disk full",
}


def chaos_blocks(figures: Figures) -> dict[str, str]:
    """Write the table of kills and faults."""
    labels = {
        "batches killed by SIGKILL": "kills.n",
        "… before anything was written": "kills.before_writing",
        "… while slates were being written": "kills.while_writing",
        "… after the flip": "kills.after_the_flip",
        "faults": "faults.n",
        **{f"… {_FAULT_NAMES[name]}": f"faults.{name}" for name in FAULTS},
        "batches under a fault that published all the same": "faults.runs_published",
        "… that failed, with a reason": "faults.runs_failed",
        "… that ended without a reason": "runs_without_a_reason",
        "batches after a kill or a fault": "following.n",
        "… that failed": "following.failed",
        "… that published something else than an undisturbed run": "following.not_whole",
        "feeds asked for": "lookups.n",
        "… with a next post of the slate for one whose text could not be read": "lookups.with_gaps",
        "… mixed of two generations": "lookups.mixed",
        "… shorter than asked": "lookups.partial",
        "… not answered": "lookups.lost",
        "… of a lower rung than need be": "lookups.low_rung",
        "… of the generation before, over a second after the flip": "lookups.stale",
        "keys without a TTL but the contract's few, at the end": "keys.without_ttl_but_the_few",
    }
    rows = [[label, f"{figures.get(name, 0):,.0f}"] for label, name in labels.items()]
    by_rung = ", ".join(
        f"{name.removeprefix('lookups.rung.')} {count:,.0f}"
        for name, count in figures.items()
        if name.startswith("lookups.rung.")
    )
    latency = f"half of them within {figures['lookups.p50_ms']:.1f} ms, 99 % within {figures['lookups.p99_ms']:.0f} ms"
    return {"chaos": f"{table(['', 'count'], rows)}\n\nFeeds by rung: {by_rung}; {latency}."}


def days_blocks(figures: Figures) -> dict[str, str]:
    """Write the table of the 24 days."""
    labels = {
        "refreshes": ("runs", "{:,.0f}"),
        "… that failed": ("runs_failed", "{:,.0f}"),
        "feeds asked for": ("lookups.n", "{:,.0f}"),
        "… that were not the live generation's own": ("lookups.not_exact", "{:,.0f}"),
        "memory of Redis, highest day over lowest": ("memory.spread", "+{:.1%}"),
        "number of keys, likewise": ("keys.spread", "+{:.1%}"),
        "median latency, last week over first (beside answers without Redis)": ("latency.p50_drift", "{:.2f}"),
        "99th percentile, likewise": ("latency.p99_drift", "{:.2f}"),
        "memory of a worker, third day": ("worker.mb_first", "{:.0f} MB"),
        "memory of a worker, last day": ("worker.mb_last", "{:.0f} MB"),
        "event log, bytes an event": ("event_log.bytes_per_event", "{:.1f}"),
        "models in the state folder": ("state.models", "{:,.0f}"),
    }
    rows = [[label, form.format(figures[name])] for label, (name, form) in labels.items()]
    return {"days": table(["", "value"], rows)}


def draw(days: Sequence[Mapping[str, float]], folder: Path = DOCS) -> None:
    """Draw memory and latency by day."""
    places = [str(day + 1) for day in range(len(days))]
    lines = {
        "reliability-memory.svg": ("Memory of Redis by day", "MB", {"used": "memory_mb", "of which data": "data_mb"}),
        "reliability-latency.svg": (
            "Latency of feeds by day",
            "ms",
            {"half of the feeds": "p50_ms", "99 %": "p99_ms", "half, without Redis": "bare_p50_ms"},
        ),
    }
    for file, (title, unit, of) in lines.items():
        series = [
            Series(name, [Point(day[key]) for day in days], f"s{at}") for at, (name, key) in enumerate(of.items())
        ]
        write = f"{{:.2f}} {unit}".format
        picture = standalone(
            title, places, series, x="simulated day", y=unit, write=write, tick="{:g}".format, most=math.inf
        )
        (folder / file).write_text(picture, encoding="utf-8")
