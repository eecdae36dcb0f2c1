"""What the engine `dask` with two workers on this machine takes against the engine `local`, and whether slates agree.

    python -m bench.engines [--users N] [--posts N] [--activity SHARE] [--ranker NAME] [--smoke]

Simulates a network in SQLite, and runs the batch three times in a temporary folder with a Redis of its own: once to
train, then with that model by each engine. Seconds are of the wall. `ratio` is over making and writing slates, for dask
with sending the workers the work; they start meanwhile the run reads, so `run.ratio` is over the whole run, from the
workers' start to their end; processor seconds are its, too, without Redis. Writes bench/results/engines.json; exit
status 1 when a target of bench/targets.toml is missed.
"""

import argparse
import resource
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis import Redis

from batch.dask_cluster import OwnCluster
from batch.engine import LocalEngine, ShardEngine
from batch.engine_dask import DaskEngine
from batch.pipeline import run_batch
from batch.settings import BatchSettings
from bench.figures import conclude, read_targets
from bench.notes import Silent
from demo.parameters import Parameters
from demo.services import hold_redis
from demo.simulate import simulate
from slates.client import connect
from slates.keys import Keys
from slates.manifest import Manifest
from source.engine import open_engine
from source.schema import SourceSchema

END = datetime(2026, 3, 1, tzinfo=UTC)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=40_000)
    parser.add_argument("--posts", type=int, default=7_000)
    parser.add_argument("--activity", type=float, default=0.03)
    parser.add_argument("--ranker", default="lightgbm")
    parser.add_argument("--smoke", action="store_true", help="few users, and nothing of speed is judged")
    given = parser.parse_args(arguments)
    if given.smoke:
        given.users, given.posts, given.activity = 1_000, 500, 0.1
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        parameters = Parameters(given.users, given.posts, days=28, activity=given.activity, end=END)
        settings = BatchSettings(state=state, ranker=given.ranker, gate_days=0)
        with hold_redis(state) as service, connect(service.url, timeout_s=60) as redis:
            figures = _measure(settings, parameters, redis, service.url)
    name = "engines_smoke" if given.smoke else "engines"
    return conclude(name, {"users": given.users, "posts": given.posts} | figures, read_targets(name))


def _measure(settings: BatchSettings, parameters: Parameters, redis: Redis, redis_url: str) -> dict[str, float]:
    engine = open_engine(None, settings.state)
    simulate(parameters, engine, SourceSchema(), settings.state)
    as_of, found = END - timedelta(hours=12), dict[str, Manifest]()
    trained = run_batch(settings, engine, redis, as_of, Silent())
    model = settings.state / "models" / trained.model_digest if trained.model_digest else None
    whole, processor = dict[str, float](), dict[str, float]()
    for name in ("local", "dask"):
        begun, before = time.perf_counter(), _processor_s()
        with ExitStack() as workers:
            shard_engine: ShardEngine = LocalEngine(redis)
            if name == "dask":
                shard_engine = DaskEngine(redis_url, workers.enter_context(OwnCluster()))
            found[name] = run_batch(settings, engine, redis, as_of, Silent(), model, shard_engine=shard_engine)
        whole[name], processor[name] = time.perf_counter() - begun, _processor_s() - before
    engine.dispose()
    seconds = {name: manifest.seconds["slate"] + manifest.seconds["publish"] for name, manifest in found.items()}
    return {
        "shards": found["dask"].shards,
        "slates": found["dask"].slates,
        "local.wall_s": seconds["local"],
        "dask.wall_s": seconds["dask"],
        "ratio": seconds["dask"] / seconds["local"],
        "local.run.wall_s": whole["local"],
        "dask.run.wall_s": whole["dask"],
        "run.ratio": whole["dask"] / whole["local"],
        "local.run.cpu_s": processor["local"],
        "dask.run.cpu_s": processor["dask"],
        "differing_users": _differing(settings, redis, (found["local"].id, found["dask"].id)),
    }


def _processor_s() -> float:
    """Return the processor seconds of this process and of the workers that have ended."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(of.ru_utime + of.ru_stime for of in used)


def _differing(settings: BatchSettings, redis: Redis, generations: tuple[str, str]) -> int:
    """Count users' keys that are not in both generations with the same bytes."""
    keys = Keys(settings.prefix)
    one, other = (
        {key.removeprefix(prefix) for key in redis.scan_iter(match=prefix + b"*", count=10_000)}
        for prefix in (keys.user(name, "").encode() for name in generations)
    )
    differing = len(one ^ other)
    for user in one & other:
        first, second = (redis.hgetall(keys.user(name, "").encode() + user) for name in generations)
        differing += first != second
    return differing


if __name__ == "__main__":
    raise SystemExit(main())
