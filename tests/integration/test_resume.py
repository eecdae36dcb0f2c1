"""A run goes on from the shards of one that was ended in its middle, where and only where it would write the same."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from test_killed_batch import StallingProxy

import batch.slate
import batch.threads
from batch.deadline import StoppedError, Watch
from batch.pipeline import run_batch
from batch.run_record import RunRecord
from batch.settings import BatchSettings
from demo.parameters import Parameters
from demo.simulate import simulate
from slates.generations import list_generations, live_generation
from slates.keys import Keys
from slates.last_run import read_last_run
from slates.manifest import Manifest
from source.engine import open_engine
from source.schema import SourceSchema

ROOT = Path(__file__).resolve().parents[2]
KEYS = Keys()
AS_OF = datetime(2021, 12, 30, tzinfo=UTC)
SMALL = 10_000
"""Cells of a chunk, for 25 users of 400 posts: 8 shards of 200 users."""


class DiedError(Exception):
    """A run ends in its middle."""


class DiesAfter:
    """Hears of a run, and ends it once so many shards are written."""

    def __init__(self, shards: int | None = None) -> None:
        self.left = shards
        self.written = 0
        self.notes: list[str] = []

    def stage(self, name: str, done: int, total: int | None) -> None:
        if name == "publish":
            self.written += 1
            if self.written == self.left:
                raise DiedError

    def note(self, told: str) -> None:
        self.notes.append(told)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch.slate, "_CELLS", SMALL)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a small simulated network."""
    folder = tmp_path_factory.mktemp("network")
    engine = open_engine(f"sqlite:///{folder / 'hourfeed.db'}", folder)
    simulate(Parameters(users=200, posts=400, days=5, end=AS_OF), engine, SourceSchema(), folder)
    engine.dispose()
    return folder / "hourfeed.db"


@pytest.fixture
def engine(network: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(network, tmp_path)
    engine = open_engine(f"sqlite:///{tmp_path / 'hourfeed.db'}", tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> BatchSettings:
    return BatchSettings(
        database_url=f"sqlite:///{tmp_path / 'hourfeed.db'}",
        state=tmp_path,
        ranker="item_knn_recency",
        hours=2,
        top_n=10,
        explore_places=1,
    )


def contents(redis: Redis, generation: str) -> dict[str, Any]:
    """All that a generation holds beside its manifest, by the end of the key."""
    prefix = f"{KEYS.generation(generation)}:"
    found = {key.decode().removeprefix(prefix): key for key in redis.scan_iter(f"{prefix}*")}
    return {name: redis.get(key) if redis.type(key) == b"string" else redis.hgetall(key) for name, key in found.items()}


def sums(manifest: Manifest) -> tuple[Any, ...]:
    told = manifest.shards, manifest.slate_bytes, manifest.explored, manifest.alike, manifest.by_bucket
    return *told, manifest.input_digest, manifest.slates


def die(settings: BatchSettings, engine: Engine, redis: Redis, shards: int, as_of: datetime = AS_OF) -> str:
    """Have a run end after so many shards, and return the id of what it leaves half-written."""
    with pytest.raises(DiedError):
        run_batch(settings, engine, redis, as_of, DiesAfter(shards))
    left = list_generations(redis, KEYS)[0]
    assert left.state == "writing"
    return left.id


@pytest.mark.parametrize("codec", ["ids", "packed"])
def test_a_run_goes_on_from_any_shard_and_leaves_what_an_undisturbed_one_leaves(
    settings: BatchSettings, engine: Engine, redis_client: Redis, codec: str
) -> None:
    settings = settings.model_copy(update={"codec": codec})
    whole = run_batch(settings, engine, redis_client, AS_OF, DiesAfter())
    expected = contents(redis_client, whole.id)
    assert (whole.shards, whole.resumed) == (8, 0)
    for shards in (1, 3, 8):
        left = die(settings, engine, redis_client, shards)
        redis_client.delete(KEYS.user(left, "no such user"))
        report = DiesAfter()
        resumed = run_batch(settings, engine, redis_client, AS_OF, report)
        assert resumed.id == left
        assert resumed.resumed >= shards  # the other thread may have ended its shard
        assert report.written == 8 - resumed.resumed
        assert any(note.startswith(f"going on from {resumed.resumed} of 8 shards") for note in report.notes)
        assert contents(redis_client, left) == expected
        assert sums(resumed) == sums(whole)
        live = live_generation(redis_client, KEYS)
        assert live is not None
        assert (live.id, live.seq, live.resumed) == (resumed.id, resumed.seq, resumed.resumed)


def test_a_run_that_goes_on_twice_goes_on_from_both(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    left = die(settings, engine, redis_client, 2)
    assert die(settings, engine, redis_client, 3) == left
    resumed = run_batch(settings, engine, redis_client, AS_OF, DiesAfter())
    assert (resumed.id, resumed.seq) == (left, 3)
    assert resumed.resumed >= 5


def _another_event(_settings: BatchSettings, engine: Engine) -> dict[str, Any]:
    with engine.begin() as connection:
        row = "SELECT :at, user_id, post_id, 'like', 0 FROM feed_data LIMIT 1"
        connection.execute(
            text(f"INSERT INTO feed_data (timestamp, user_id, post_id, action, target) {row}"),
            {"at": AS_OF.replace(tzinfo=None) - timedelta(seconds=1)},
        )
    return {}


def _another_text(_settings: BatchSettings, engine: Engine) -> dict[str, Any]:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE post_text_df SET topic = 'other' WHERE post_id = (SELECT min(post_id) FROM post_text_df)")
        )
    return {}


@pytest.mark.parametrize(
    "change",
    [
        _another_event,
        _another_text,
        lambda *_: {"top_n": 11},
        lambda *_: {"seed": 1},
        lambda *_: {"codec": "packed"},
        lambda *_: {"generation_ttl_h": 100.0},
        lambda *_: {"ranker": "popular_24h"},
    ],
    ids=["event", "topic", "top_n", "seed", "codec", "ttl", "ranker"],
)
def test_whatever_decides_the_slates_is_changed_it_starts_over(
    settings: BatchSettings, engine: Engine, redis_client: Redis, change: Callable[..., dict[str, Any]]
) -> None:
    left = die(settings, engine, redis_client, 3)
    changed = settings.model_copy(update=change(settings, engine))
    report = DiesAfter()
    anew = run_batch(changed, engine, redis_client, AS_OF, report)
    assert (anew.resumed, anew.seq, report.written) == (0, 2, 8)
    assert anew.id != left
    assert not redis_client.exists(KEYS.generation(left))
    assert contents(redis_client, left) == {}


def test_another_version_of_the_code_starts_over(
    settings: BatchSettings, engine: Engine, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = die(settings, engine, redis_client, 3)
    monkeypatch.setattr("batch.input_digest.code_digest", lambda: "another")
    assert run_batch(settings, engine, redis_client, AS_OF, DiesAfter()).id != left


@pytest.mark.parametrize(
    "damage",
    [
        lambda redis, left: redis.delete(KEYS.user(left, _users_of(redis, left)[0])),
        lambda redis, left: redis.hset(KEYS.shards(left), "0", "{}"),
    ],
    ids=["a user is gone", "the note is broken"],
)
def test_a_shard_that_is_not_as_noted_is_written_again(
    settings: BatchSettings, engine: Engine, redis_client: Redis, damage: Callable[[Redis, str], object]
) -> None:
    expected = contents(redis_client, run_batch(settings, engine, redis_client, AS_OF, DiesAfter()).id)
    left = die(settings, engine, redis_client, 3)
    noted = redis_client.hlen(KEYS.shards(left))
    damage(redis_client, left)
    resumed = run_batch(settings, engine, redis_client, AS_OF, DiesAfter())
    assert (resumed.id, resumed.resumed) == (left, noted - 1)
    assert contents(redis_client, left) == expected


def _users_of(redis: Redis, generation: str) -> list[str]:
    return sorted(key.decode().rpartition(":")[2] for key in redis.scan_iter(KEYS.user(generation, "") + "*"))


def test_what_lies_there_for_long_is_not_gone_on_with(
    settings: BatchSettings, engine: Engine, redis_client: Redis
) -> None:
    left = die(settings, engine, redis_client, 3)
    redis_client.expire(KEYS.generation(left), round(0.89 * 72 * 3600))
    assert run_batch(settings, engine, redis_client, AS_OF, DiesAfter()).resumed == 0


class StopsAfter(DiesAfter):
    """Asks for the run's end once so many shards are written."""

    def __init__(self, watch: Watch, shards: int) -> None:
        super().__init__()
        self.watch, self.stops_at = watch, shards

    def stage(self, name: str, done: int, total: int | None) -> None:
        super().stage(name, done, total)
        if self.written == self.stops_at:
            self.watch.end(StoppedError(signal.SIGTERM))


def test_a_run_that_is_asked_to_stop_ends_between_two_shards_and_the_next_goes_on(
    settings: BatchSettings, engine: Engine, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch.threads, "at_once", lambda: 1)  # else shards are finished while the first are told of
    watch = Watch()
    record = RunRecord(settings.state, redis_client, KEYS, "refresh", AS_OF, watch)
    with pytest.raises(StoppedError), record.kept():
        run_batch(settings, engine, redis_client, AS_OF, StopsAfter(watch, 3), record=record)
    told = read_last_run(redis_client, KEYS)
    assert told is not None
    assert (told.outcome, told.stage, told.seq) == ("stopped", "publish", 1)
    assert not redis_client.exists(KEYS.lock)
    resumed = run_batch(settings, engine, redis_client, AS_OF, DiesAfter())
    assert 3 <= resumed.resumed <= 5


RUN = "import batch.slate, sys; batch.slate._CELLS = {cells}; from cli.main import run; run()"


def test_a_process_killed_by_sigkill_is_gone_on_from(
    settings: BatchSettings, engine: Engine, redis_client: Redis, redis_url: str
) -> None:
    expected = contents(redis_client, run_batch(settings, engine, redis_client, AS_OF, DiesAfter()).id)
    given: dict[str, object] = {
        "DATABASE_URL": settings.database_url,
        "HOURFEED_STATE": settings.state,
        "HOURFEED_RANKER": settings.ranker,
        "NUMBA_NUM_THREADS": 1,  # a shard after the other
    }
    given |= {"HOURFEED_HOURS": 2, "HOURFEED_TOP_N": 10, "HOURFEED_EXPLORE_PLACES": 1}
    env = {**os.environ, **{name: str(value) for name, value in given.items()}}
    argv = [sys.executable, "-c", RUN.format(cells=SMALL), "batch", "--as-of", AS_OF.isoformat()]
    proxy = StallingProxy(redis_url, b":shards", 3 * 2 + 1)  # named by HSET and by EXPIRE: before the fourth is noted
    try:
        with subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**env, "REDIS_URL": proxy.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            while not proxy.reached.wait(0.05):
                assert process.poll() is None, process.communicate()[0]
            process.kill()
            process.communicate()
    finally:
        proxy.close()
    said = subprocess.run(
        argv, cwd=ROOT, env={**env, "REDIS_URL": redis_url}, capture_output=True, text=True, check=True
    )
    live = live_generation(redis_client, KEYS)
    assert live is not None
    assert (live.id, live.seq, live.resumed) == ("20211230T000000-2", 3, 3)
    assert "going on from 3 of 8 shards" in said.stderr
    assert contents(redis_client, live.id) == expected
