"""GET /metrics for Prometheus: what this server counts, over all its workers, and what the live manifest says.

Workers count in their own memory, mapped to files in the folder that PROMETHEUS_MULTIPROC_DIR names (server.gunicorn
makes one); the worker that is asked adds up. Without the variable a process counts for itself.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from server.keys import Guard
from slates.client import REDIS_AWAY, RedisError
from slates.errors import SlatesError
from slates.freshness import freshness_of
from slates.guarded import guard_values
from slates.last_run import LastRun
from slates.lookup import Lookup, NoFeedError
from slates.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_LATENCIES_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_NO_LABELS: tuple[str, ...] = ()


class Metrics:
    """What a process counts; safe for any number of threads."""

    def __init__(self) -> None:
        # prometheus_client chose when it was imported, which may have been before there was a folder.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        own = self._own = CollectorRegistry()
        self._answers = Counter("hourfeed_requests", "Requests answered", ("route", "status"), registry=own)
        self._took = Histogram(
            "hourfeed_request_seconds", "Time to answer", ("route",), registry=own, buckets=_LATENCIES_S
        )
        self._feeds = Counter("hourfeed_feeds", "Feeds by where they were found", ("rung",), registry=own)
        self._redis = Counter("hourfeed_redis_errors", "Requests to Redis that failed", _NO_LABELS, registry=own)
        workers = Gauge(
            "hourfeed_workers", "Processes that answer", _NO_LABELS, registry=own, multiprocess_mode="livesum"
        )
        workers.set(1)
        # `labels` takes longer than counting, so what it returns is kept, by the few labels that there are.
        self._known: dict[tuple[str, str, str | None], tuple[Counter, Histogram, Counter | None]] = {}

    def answered(self, route: str, status: str, rung: str | None, seconds: float) -> None:
        """Count an answer: the rule of its route, its status, and the rung where it is a feed."""
        known = self._known.get((route, status, rung))
        if known is None:
            known = (
                self._answers.labels(route, status),
                self._took.labels(route),
                self._feeds.labels(rung) if rung else None,
            )
            self._known[route, status, rung] = known
        answers, took, feeds = known
        answers.inc()
        took.observe(seconds)
        if feeds is not None:
            feeds.inc()

    def redis_failed(self) -> None:
        """Count a failure of Redis."""
        self._redis.inc()

    def counted(self) -> CollectorRegistry:
        """Return what all workers have counted."""
        folder = os.environ.get(FOLDER)
        if folder is None:
            return self._own
        everybody = CollectorRegistry()
        everybody.register(_OfWorkers(Path(folder)))
        return everybody

    def feeds_by_rung(self) -> dict[str, float]:
        """Return how many feeds came from each rung, over all workers."""
        found = (metric for metric in self.counted().collect() if metric.name == "hourfeed_feeds")
        samples = (sample for metric in found for sample in metric.samples)
        return {sample.labels["rung"]: sample.value for sample in samples if sample.name.endswith("_total")}


def worker_ended(pid: int) -> None:
    """Forget the gauges of a process that has ended; what it counted stays."""
    if FOLDER in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def metrics_routes(
    metrics: Metrics,
    lookup: Lookup,
    guard: Guard,
    fresh_for_h: float,
    held: Callable[[], list[Manifest]],
    last_run: Callable[[], LastRun | None],
    waiting: Callable[[], int],
) -> Blueprint:
    """Return the route; reading needs what reading feeds needs. held, last_run, waiting : as Redis has them."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @guard.needs("read")
    def show() -> Response:
        generation = CollectorRegistry()
        generation.register(_OfGeneration(lookup, fresh_for_h, held))
        generation.register(_OfLastRun(last_run))
        generation.register(_OfEvents(waiting))
        body = generate_latest(metrics.counted()) + generate_latest(generation)
        return Response(body, content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"})

    return routes


class _OfWorkers(Collector):
    """What all workers have counted, each in files of its own.

    A worker that starts makes a file first and then room in it, and prometheus_client's own collector stumbles over one
    that has none yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> "Iterator[Metric]":
        """Yield a metric for each name."""
        files = [entry.path for entry in os.scandir(self._folder) if entry.name.endswith(".db") and _has_room(entry)]
        yield from multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]


def _has_room(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.stat().st_size > 0
    except FileNotFoundError:  # the gauges of a worker that has ended are removed
        return False


class _OfGeneration(Collector):
    """What the manifest of the live generation says, at the moment of asking: the same from every worker."""

    def __init__(self, lookup: Lookup, fresh_for_h: float, held: Callable[[], list[Manifest]]) -> None:
        self._lookup = lookup
        self._fresh_for_h = fresh_for_h
        self._held = held

    def collect(self) -> "Iterator[Metric]":
        """Yield a gauge for each figure; where no generation can be seen, only that and the objective."""
        yield _gauge("objective_seconds", "Age up to which it is fresh", self._fresh_for_h * 3600)
        try:
            manifest = self._lookup.refresh()
        except NoFeedError:
            yield _gauge("live", "1 while Redis names a live generation, else 0", 0)
            return
        yield _gauge("live", "1 while Redis names a live generation, else 0", 1)
        freshness = freshness_of(manifest, datetime.now(UTC), self._fresh_for_h)
        about = _gauge_by("info", "Which generation is live", ("generation", "ranker", "codec"))
        about.add_metric([manifest.id, manifest.ranker, manifest.codec], 1)
        yield about
        yield _gauge("age_seconds", "Time since its as-of", freshness.age_s)
        yield _gauge("hours_left", "Hours until its last bucket ends", freshness.hours_left)
        for name in ("users", "posts", "slates", "events", "quarantined"):
            yield _gauge(name, f"Number of {name}", getattr(manifest, name))
        yield _gauge("slate_bytes", "Bytes of its slates as encoded", manifest.slate_bytes)
        stages = _gauge_by("stage_seconds", "Time of each stage of its run", ("stage",))
        for stage, seconds in manifest.seconds.items():
            stages.add_metric([stage], seconds)
        yield stages
        yield from _quality(manifest)
        guards = _gauge_by("guard", "What the guards measured before it went live", ("guard",))
        for name, value in guard_values(manifest).items():
            guards.add_metric([name], value)
        yield guards
        broken = len(manifest.guards.get("broken", ()))
        yield _gauge("guards_broken", "Guards against which it was published", broken)
        yield from self._blocked(manifest)

    def _blocked(self, live: Manifest) -> "Iterator[Metric]":
        try:
            blocked = [manifest for manifest in self._held() if manifest.state == "blocked" and manifest.seq > live.seq]
        except REDIS_AWAY:
            return
        what = "Newer generations that the guards have kept from going live"
        yield GaugeMetricFamily("hourfeed_generations_blocked", what, value=len(blocked))


class _OfLastRun(Collector):
    """How the latest run came out; nothing where there was none, or Redis is away."""

    def __init__(self, last_run: Callable[[], LastRun | None]) -> None:
        self._last_run = last_run

    def collect(self) -> "Iterator[Metric]":
        """Yield a gauge for each figure."""
        try:
            run = self._last_run()
        except (SlatesError, RedisError, *REDIS_AWAY):
            return
        if run is None:
            return
        yield _of_run("failures", "Runs in a row that failed, up to the latest", run.failures)
        yield _of_run("begun_timestamp_seconds", "When the latest run began", run.begun_at.timestamp())
        if run.ended_at is not None:
            yield _of_run("ended_timestamp_seconds", "When the latest run ended", run.ended_at.timestamp())
        about = GaugeMetricFamily(
            "hourfeed_last_run_info", "How the latest run came out", labels=("run", "outcome", "stage")
        )
        about.add_metric([run.run, run.outcome, run.stage], 1)
        yield about


class _OfEvents(Collector):
    """How many posted events wait for the database; nothing where Redis is away."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting

    def collect(self) -> "Iterator[Metric]":
        """Yield the gauge."""
        try:
            waiting = self._waiting()
        except (RedisError, *REDIS_AWAY):
            return
        yield GaugeMetricFamily("hourfeed_events_waiting", "Posted events that wait for the database", value=waiting)


def _of_run(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hourfeed_last_run_{name}", what, value=value)


def _quality(manifest: Manifest) -> "Iterator[Metric]":
    """Yield what the gate measured; nothing where it did not."""
    gate = manifest.gate
    if manifest.alike is not None:
        yield _gauge("alike_ratio", "Share of users who get what everybody gets", manifest.alike)
    if not gate:
        return
    hitrate = _gauge_by("hitrate", "hitrate@5 on the latest held-out days", ("of",))
    hitrate.add_metric(["trained"], gate["trained"])
    hitrate.add_metric(["baseline"], gate["of_baseline"])
    yield hitrate
    yield _gauge("hitrate_difference", "hitrate@5 of the trained ranker less the baseline's", gate["difference"])
    if gate["interval_95"] is not None:
        what = "Half the width of the difference's 95 % interval"
        yield _gauge("hitrate_difference_interval", what, gate["interval_95"])


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hourfeed_generation_{name}", what, value=value)


def _gauge_by(name: str, what: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hourfeed_generation_{name}", what, labels=labels)
