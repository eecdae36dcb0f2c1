"""A full disk, a clock that was moved, a worker that is killed."""

import contextlib
import http.client
import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tiny_network import EXACT, FEED, ask_of, feed, fill, publish, settings_of

from batch.errors import BatchError
from batch.event_log import files
from batch.features.vocabulary import Vocabularies
from batch.model import Model, load_model, save_model
from bench.chaos_world import get
from bench.serve import gunicorn_hourfeed, served
from bench.service import open_connection
from cli.batch import publish_once
from source.chunk import BadRow
from source.errors import SourceError
from source.quarantine import Quarantine


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> str:
    return fill(postgres_url, tmp_path)


@contextmanager
def full_disk(left_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond that size: writes fail as on a full disk, Python ignoring SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("left_bytes", [0, 100, 700])
def test_a_full_disk_fails_the_event_log_whole_and_leaves_what_is_there_valid(
    redis_url: str, database: str, tmp_path: Path, left_bytes: int
) -> None:
    settings = settings_of(database, redis_url, tmp_path / "state")
    before = publish(settings)
    log = files.read_manifest(settings.state / "event-log")
    with (
        full_disk(left_bytes),
        pytest.raises(BatchError, match=r"the event log in .* cannot be written: File too large"),
    ):
        publish(settings, full_refresh=True)
    assert files.read_manifest(settings.state / "event-log") == log
    assert feed(ask_of(redis_url))[:2] == (EXACT, before.id)
    assert publish(settings).events == before.events


def test_a_full_disk_fails_a_model_whole_and_leaves_the_others_valid(tmp_path: Path) -> None:
    model = Model("num_tree_per_iteration=1\n" * 100, (), Vocabularies({}), None, trained_as_of_s=0, groups=1, rows=1)
    newer = replace(model, trained_as_of_s=3600)
    kept = save_model(model, tmp_path)
    with full_disk(500), pytest.raises(BatchError, match=r"the model cannot be written in .*: File too large"):
        save_model(newer, tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
    assert load_model(kept) == model
    assert load_model(save_model(newer, tmp_path)) == newer


@pytest.mark.parametrize("left_bytes", [0, 100, 100_000])
def test_a_full_disk_fails_the_quarantine_with_a_reason(tmp_path: Path, left_bytes: int) -> None:
    rows = [BadRow(line, "broken time", "2021,1,2") for line in range(10_000)]
    reason = "the quarantine file .* cannot be written: File too large"
    with full_disk(left_bytes), pytest.raises(SourceError, match=reason), Quarantine(tmp_path).of("events") as file:
        file.add(rows)
    with Quarantine(tmp_path).of("events") as file:
        file.add(rows)
    assert len(file.path.read_text().splitlines()) == 10_001


@pytest.mark.parametrize("hours", [-30, -3, 3, 30])
def test_a_server_whose_clock_is_moved_answers_from_the_nearest_bucket_of_that_hour(
    redis_url: str, database: str, tmp_path: Path, hours: int
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    settings = settings_of(database, redis_url, tmp_path / "state", hours=24)
    publish_once(settings, now - timedelta(hours=hours), force=True)
    answer: Any = ask_of(redis_url).get("/post/recommendations/?id=203&limit=3")  # at the time of the server
    assert (answer.status_code, len(answer.json)) == (200, 3)
    assert answer.headers["X-Hourfeed-Rung"] == (EXACT if hours == 3 else "same_hour")
    assert abs(int(answer.headers["X-Hourfeed-Age"]) - hours * 3600) < 60


def test_a_worker_killed_is_replaced_and_the_others_answer(redis_url: str, database: str, tmp_path: Path) -> None:
    publish(settings_of(database, redis_url, tmp_path / "state"))
    environment = {"REDIS_URL": redis_url, "HOURFEED_WORKERS": "2", "HOURFEED_LOG_LEVEL": "error"}
    with served(gunicorn_hourfeed(), "/healthz", **environment) as server:

        def ask(path: str) -> str:
            """Ask as a proxy in front would: on a new connection, once more where that one broke."""
            for _ in range(2):
                with (
                    contextlib.suppress(OSError, http.client.HTTPException),
                    contextlib.closing(open_connection(server.url)) as connection,
                ):
                    status, _, body = get(connection, path)
                    assert status == 200
                    return body.decode()
            raise AssertionError("two connections broke, one after the other")

        def metric(name: str) -> float:
            found = re.search(rf"^{name} (\S+)$", ask("/metrics"), re.MULTILINE)
            return float(found[1]) if found else 0.0

        def workers() -> set[str]:
            return set(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split())

        def await_two_workers() -> None:
            deadline = time.monotonic() + 30
            while metric("hourfeed_workers") != 2:
                assert time.monotonic() < deadline
                ask(FEED)

        await_two_workers()
        killed = min(workers())
        counted = metric(r'hourfeed_feeds_total\{rung="exact"\}')
        os.kill(int(killed), signal.SIGKILL)
        for _ in range(30):
            ask(FEED)
        await_two_workers()
        assert killed not in workers()
        assert metric(r'hourfeed_feeds_total\{rung="exact"\}') >= counted + 30  # what the dead one counted stays
