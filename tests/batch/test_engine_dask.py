"""Slates made by real Dask workers, two processes on this machine, against those that this process makes.

The workers are those of the module. What this process publishes is made once; the model that it trains then scores in
all later runs. Workers are killed last, since those that come after them must load everything again.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clusters import cluster_in
from dask_workers import two_workers
from extras import needs
from redis import Redis
from sqlalchemy import Engine

from batch import dask_cluster
from batch.dask_cluster import OwnCluster
from batch.engine_dask import DaskEngine
from batch.errors import BatchError
from batch.pipeline import run_batch
from batch.settings import BatchSettings
from demo.errors import DemoError
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.client import connect
from slates.cluster import keys_of
from slates.errors import StaleRunError
from slates.keys import Keys
from slates.manifest import Manifest
from source.engine import open_engine
from source.schema import SourceSchema

distributed = needs("distributed")

END = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF = END - timedelta(days=1, hours=5)
KEYS = Keys()
USERS, POSTS, OF_A_SHARD = 120, 200, 8


class Watcher:
    """Hears a run, and acts once, when the first shard is done."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        self.done: list[int] = []
        self._act = act

    def stage(self, name: str, done: int, total: int | None) -> None:
        if name == "publish":
            assert total == USERS
            self.done.append(done)
            if len(self.done) == 1:
                self._act()

    def note(self, text: str) -> None:
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_workers() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("network")
    engine = open_engine(None, folder)
    simulate(Parameters(users=USERS, posts=POSTS, days=5, seed=5, end=END), engine, SourceSchema(), folder)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.slate._CELLS", OF_A_SHARD * POSTS)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BatchSettings:
    state = tmp_path_factory.mktemp("state")
    return BatchSettings(
        state=state, hours=4, top_n=6, trees=20, train_groups=300, train_negatives=20, gate_days=0, explore_places=1
    )


@dataclass(frozen=True)
class Local:
    """What this process has published by each codec, and with what model."""

    manifests: Mapping[str, Manifest]
    stored: Mapping[str, Mapping[bytes, Any]]
    model: Path


@pytest.fixture(scope="module")
def local(settings: BatchSettings, engine: Engine, _redis_server: str) -> Local:
    manifests, found, model = dict[str, Manifest](), dict[str, Mapping[bytes, Any]](), None
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(connect(_redis_server)) as redis:
        patch.setattr("batch.slate._CELLS", OF_A_SHARD * POSTS)
        redis.flushall()
        for codec in ("ids", "packed"):
            own = settings.model_copy(update={"codec": codec})
            manifests[codec] = run_batch(own, engine, redis, AS_OF, Watcher(), model)
            found[codec] = stored(redis, manifests[codec])
            model = settings.state / "models" / manifests[codec].model_digest
    assert model is not None
    return Local(manifests, found, model)


def stored(redis: Redis, manifest: Manifest) -> dict[bytes, Any]:
    """Return what a generation holds beside its manifest, by the key without the generation's id."""
    prefix = f"{KEYS.generation(manifest.id)}:".encode()
    read: dict[bytes, Callable[[bytes], Any]] = {b"hash": redis.hgetall, b"string": redis.get, b"set": redis.smembers}
    names = list(redis.scan_iter(match=prefix + b"*"))
    assert all(redis.ttl(name) > 0 for name in names)
    return {name.removeprefix(prefix): read[redis.type(name)](name) for name in names}  # type: ignore[index]


def in_detail(manifest: Manifest) -> tuple[object, ...]:
    return manifest.shards, manifest.slate_bytes, manifest.explored, manifest.alike, manifest.model_digest


@pytest.mark.parametrize("codec", ["ids", "packed"])
def test_two_workers_write_what_one_process_writes_key_by_key(
    codec: str, settings: BatchSettings, engine: Engine, local: Local, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    settings, heard = settings.model_copy(update={"codec": codec}), Watcher()
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    manifest = run_batch(settings, engine, redis_client, AS_OF, heard, local.model, shard_engine=dask)
    assert stored(redis_client, manifest) == local.stored[codec]
    assert in_detail(manifest) == in_detail(local.manifests[codec])
    assert manifest.shards > 10
    assert heard.done == sorted(heard.done)
    assert heard.done[-1] == USERS
    assert sum(name.startswith(b"user:") for name in local.stored[codec]) == USERS


def test_workers_write_to_a_redis_cluster_what_one_process_writes_to_a_single_redis(
    settings: BatchSettings, engine: Engine, local: Local, cluster: Any, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as running:
        try:
            url = running.enter_context(cluster_in(tmp_path / "masters"))
        except DemoError as error:
            pytest.skip(str(error))
        redis = running.enter_context(connect(url))
        dask = DaskEngine(url, cluster.scheduler_address)
        manifest = run_batch(settings, engine, redis, AS_OF, Watcher(), local.model, shard_engine=dask)
        assert redis.get(keys_of(redis, settings.prefix).current) == manifest.id.encode()
        assert stored(redis, manifest) == local.stored["ids"]
        assert in_detail(manifest) == in_detail(local.manifests["ids"])


def test_baselines_too_are_scored_on_workers(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    settings = settings.model_copy(update={"ranker": "item_knn_recency"})
    here = run_batch(settings, engine, redis_client, AS_OF, Watcher())
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    manifest = run_batch(settings, engine, redis_client, AS_OF, Watcher(), shard_engine=dask)
    assert stored(redis_client, manifest) == stored(redis_client, here)


def test_workers_of_a_run_that_lost_its_turn_write_no_more(
    settings: BatchSettings, engine: Engine, local: Local, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    live = run_batch(settings, engine, redis_client, AS_OF, Watcher(), local.model)
    heard = Watcher(lambda: redis_client.set(KEYS.lock, b"another run"))
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    with pytest.raises(StaleRunError, match="lost hourfeed:lock"):
        run_batch(settings, engine, redis_client, AS_OF, heard, local.model, shard_engine=dask)
    redis_client.delete(KEYS.lock)
    assert redis_client.get(KEYS.current) == live.id.encode()


def test_a_scheduler_that_does_not_answer_is_named(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str
) -> None:
    plain = settings.model_copy(update={"ranker": "popular_24h"})
    nowhere = DaskEngine(redis_url, "tcp://127.0.0.1:9", wait_s=0.5)
    with pytest.raises(BatchError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*dask scheduler"):
        run_batch(plain, engine, redis_client, AS_OF, Watcher(), shard_engine=nowhere)


def test_workers_with_other_packages_are_refused(redis_url: str, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "metadata", SimpleNamespace(version=lambda name: "0"))  # of this process alone
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    with pytest.raises(BatchError, match=r"the Dask worker tcp://127\.0\.0\.1:\d+ has hourfeed .*, not 0, numpy"):
        next(dask.run(None, []))  # type: ignore[arg-type]


def test_without_a_scheduler_there_are_two_workers_on_this_machine(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str
) -> None:
    plain = settings.model_copy(update={"ranker": "popular_24h"})
    here = run_batch(plain, engine, redis_client, AS_OF, Watcher())
    with OwnCluster() as workers:
        dask = DaskEngine(redis_url, workers)
        manifest = run_batch(plain, engine, redis_client, AS_OF, Watcher(), shard_engine=dask)
    assert stored(redis_client, manifest) == stored(redis_client, here)


@pytest.mark.parametrize("killed", [1, 2], ids=["one worker", "both workers"])
def test_a_run_completes_with_the_same_slates_when_workers_are_killed_in_the_middle(
    killed: int,
    settings: BatchSettings,
    engine: Engine,
    local: Local,
    redis_client: Redis,
    redis_url: str,
    cluster: Any,
) -> None:
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        pids = list(client.run(os.getpid).values())

    def kill() -> None:
        for pid in pids[:killed]:
            os.kill(pid, signal.SIGKILL)

    heard = Watcher(kill)
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    manifest = run_batch(settings, engine, redis_client, AS_OF, heard, local.model, shard_engine=dask)
    assert len(heard.done) == manifest.shards > 10  # so workers were killed in the middle, and each shard came once
    assert stored(redis_client, manifest) == local.stored["ids"]
    assert in_detail(manifest) == in_detail(local.manifests["ids"])
