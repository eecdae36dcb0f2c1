"""The choice of an engine, and what is said where it cannot be had; the workers' own tests are in test_engine_dask."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batch.engine_dask import DaskEngine
from batch.errors import BatchError
from batch.settings import BatchSettings
from cli.batch import publish_once

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_without_the_extra_the_engine_dask_names_it_before_the_work(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BatchError, match=r"needs the extra `dask` .*pip install 'hourfeed\[dask\]'"):
        publish_once(BatchSettings(state=tmp_path, redis_url=redis_url, engine="dask"), NOW)
    with pytest.raises(BatchError, match="needs the extra `dask`"):
        list(DaskEngine(redis_url).run(None, []))  # type: ignore[arg-type]


def test_workers_elsewhere_need_a_redis_that_they_reach(tmp_path: Path) -> None:
    settings = BatchSettings(state=tmp_path, engine="dask", scheduler="tcp://10.0.0.5:8786")
    with pytest.raises(BatchError, match="write to Redis by REDIS_URL: set it"):
        publish_once(settings, NOW)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="'local' or 'dask'"):
        BatchSettings(engine="spark")
