"""Slates made by real Dask workers, two processes on this machine, against those that this process makes."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from extras import needs
from redis import Redis
from sqlalchemy import Engine

from batch import engine_dask
from batch.engine_dask import DaskEngine
from batch.errors import BatchError
from batch.pipeline import run_batch
from batch.settings import BatchSettings
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.errors import StaleRunError
from slates.keys import Keys
from slates.manifest import Manifest
from source.engine import open_engine
from source.schema import SourceSchema

distributed = needs("distributed")

END = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF = END - timedelta(days=1, hours=5)
KEYS = Keys()
USERS, OF_A_SHARD = 150, 8


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
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=None
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("network")
    engine = open_engine(None, folder)
    simulate(Parameters(users=USERS, posts=300, days=5, seed=5, end=END), engine, SourceSchema(), folder)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSettings:
    monkeypatch.setattr("batch.slate._CELLS", OF_A_SHARD * 300)
    return BatchSettings(
        state=tmp_path, hours=4, top_n=6, trees=20, train_groups=300, train_negatives=20, gate_days=0, explore_places=1
    )


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
    codec: str, settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    settings = settings.model_copy(update={"codec": codec})
    local = run_batch(settings, engine, redis_client, AS_OF, Watcher())
    heard = Watcher()
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    manifest = run_batch(settings, engine, redis_client, AS_OF, heard, shard_engine=dask)
    expected = stored(redis_client, local)
    assert stored(redis_client, manifest) == expected
    assert in_detail(manifest) == in_detail(local)
    assert manifest.shards > 10
    assert heard.done == sorted(heard.done)
    assert heard.done[-1] == USERS
    assert sum(name.startswith(b"user:") for name in expected) == USERS


def test_baselines_too_are_scored_on_workers(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    settings = settings.model_copy(update={"ranker": "item_knn_recency"})
    local = run_batch(settings, engine, redis_client, AS_OF, Watcher())
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    manifest = run_batch(settings, engine, redis_client, AS_OF, Watcher(), shard_engine=dask)
    assert stored(redis_client, manifest) == stored(redis_client, local)


@pytest.mark.parametrize("killed", [1, 2], ids=["one worker", "both workers"])
def test_a_run_completes_with_the_same_slates_when_workers_are_killed_in_the_middle(
    killed: int, settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    local = run_batch(settings, engine, redis_client, AS_OF, Watcher())
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=20)
        pids = list(client.run(os.getpid).values())

    def kill() -> None:
        for pid in pids[:killed]:
            os.kill(pid, signal.SIGKILL)

    heard = Watcher(kill)
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    manifest = run_batch(settings, engine, redis_client, AS_OF, heard, shard_engine=dask)
    assert len(heard.done) == manifest.shards > 10  # so workers were killed in the middle, and each shard came once
    assert stored(redis_client, manifest) == stored(redis_client, local)
    assert in_detail(manifest) == in_detail(local)


def test_workers_of_a_run_that_lost_its_turn_write_no_more(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str, cluster: Any
) -> None:
    live = run_batch(settings, engine, redis_client, AS_OF, Watcher())
    heard = Watcher(lambda: redis_client.set(KEYS.lock, b"another run"))
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    with pytest.raises(StaleRunError, match="lost hourfeed:lock"):
        run_batch(settings, engine, redis_client, AS_OF, heard, shard_engine=dask)
    redis_client.delete(KEYS.lock)
    assert redis_client.get(KEYS.current) == live.id.encode()


def test_without_a_scheduler_there_are_two_workers_on_this_machine(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str
) -> None:
    plain = settings.model_copy(update={"ranker": "popular_24h"})
    local = run_batch(plain, engine, redis_client, AS_OF, Watcher())
    manifest = run_batch(plain, engine, redis_client, AS_OF, Watcher(), shard_engine=DaskEngine(redis_url))
    assert stored(redis_client, manifest) == stored(redis_client, local)


def test_a_scheduler_that_does_not_answer_is_named(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str
) -> None:
    plain = settings.model_copy(update={"ranker": "popular_24h"})
    nowhere = DaskEngine(redis_url, "tcp://127.0.0.1:9", wait_s=0.5)
    with pytest.raises(BatchError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*dask scheduler"):
        run_batch(plain, engine, redis_client, AS_OF, Watcher(), shard_engine=nowhere)


def test_workers_with_other_packages_are_refused(redis_url: str, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_dask, "metadata", SimpleNamespace(version=lambda name: "0"))  # of this process alone
    dask = DaskEngine(redis_url, cluster.scheduler_address)
    with pytest.raises(BatchError, match=r"the Dask worker tcp://127\.0\.0\.1:\d+ has hourfeed .*, not 0, numpy"):
        next(dask.run(None, []))  # type: ignore[arg-type]
