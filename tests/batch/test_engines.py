"""The choice of an engine, and what is said where it cannot be had; the workers' own tests are in test_engine_dask."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest

from batch.engine import LocalEngine
from batch.engine_dask import DaskEngine
from batch.errors import BatchError
from batch.grow import grow_here
from batch.grow_dask import DaskGrower
from batch.settings import BatchSettings
from batch.shard import Shard
from cli.batch import grower_of, publish_once

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_without_the_extra_the_engine_dask_names_it_before_the_work(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BatchError, match=r"needs the extra `dask` .*pip install 'hourfeed\[dask\]'"):
        publish_once(BatchSettings(state=tmp_path, redis_url=redis_url, engine="dask"), NOW)
    with pytest.raises(BatchError, match="needs the extra `dask`"):
        list(DaskEngine(redis_url, "tcp://10.0.0.5:8786").run(None, []))  # type: ignore[arg-type]


def test_without_the_extra_no_trees_are_grown_on_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BatchError, match="needs the extra `dask`"):
        DaskGrower("tcp://10.0.0.5:8786")(None, lambda _done, _total: None)  # type: ignore[arg-type]


def test_trees_are_grown_on_workers_only_where_there_are_some_and_they_are_to(tmp_path: Path) -> None:
    scheduler, there = "tcp://10.0.0.5:8786", BatchSettings(state=tmp_path, train_on="workers")
    assert grower_of(there, scheduler) == DaskGrower(scheduler)
    assert grower_of(there, None) is grow_here
    assert grower_of(BatchSettings(state=tmp_path), scheduler) is grow_here


def test_workers_elsewhere_need_a_redis_that_they_reach(tmp_path: Path) -> None:
    settings = BatchSettings(state=tmp_path, engine="dask", scheduler="tcp://10.0.0.5:8786")
    with pytest.raises(BatchError, match="write to Redis by REDIS_URL: set it"):
        publish_once(settings, NOW)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="'local' or 'dask'"):
        BatchSettings(engine="spark")


class _Scorer:
    def pair_scores(self, users: np.ndarray) -> np.ndarray:
        return np.zeros((len(users), 1))


def _shards(monkeypatch: pytest.MonkeyPatch, run: Callable[[int], object], number: int) -> Iterator[object]:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr("batch.threads.threading_layer", lambda: "omp")
    monkeypatch.setattr("batch.engine.run_shard", lambda _work, _redis, shard: run(shard.number))
    shards = [Shard(at, range(at, at + 1)) for at in range(number)]
    work = SimpleNamespace(scorer=_Scorer())
    return LocalEngine(None).run(work, shards)  # type: ignore[arg-type]


def test_the_local_engine_works_on_two_shards_at_a_time_and_yields_them_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = threading.Barrier(2, timeout=60)

    def run(number: int) -> int:
        both.wait()  # comes back only when another shard is under way
        return number

    assert list(_shards(monkeypatch, run, 6)) == [0, 1, 2, 3, 4, 5]


def test_after_a_shard_has_failed_no_further_one_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, told = [], threading.Event()

    def run(number: int) -> int:
        begun.append(number)
        if number == 0:
            msg = "no room"
            raise BatchError(msg)
        told.wait(60)
        return number

    shards = _shards(monkeypatch, run, 500)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", _after(told.set, ThreadPoolExecutor.shutdown))
    with pytest.raises(BatchError, match="no room"):
        list(shards)
    assert set(begun) <= {0, 1, 2}  # one that failed, and what the two threads held by then


def _after(first: Callable[[], None], then: Callable[..., None]) -> Callable[..., None]:
    """Let `then` cancel what waits before `first` lets the shards under way end."""

    def shutdown(pool: ThreadPoolExecutor, **given: bool) -> None:
        then(pool, **given | {"wait": False})
        first()
        then(pool)

    return shutdown
