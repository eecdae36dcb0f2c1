"""Redis stopped, empty, full, slow, or cut off in the middle of an answer."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis
from tiny_network import EXACT, ask_of, await_rung, feed, fill, publish, rung, settings_of

from bench.generation import differing_keys, digest_slates
from bench.proxy import Proxy
from demo.errors import DemoError
from demo.held import is_running
from demo.services import RedisService, hold_redis
from slates.client import connect
from slates.errors import SlatesError
from slates.generations import live_generation
from slates.keys import Keys

KEYS = Keys()
AWAY = "Redis does not answer"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisService]:
    """A Redis that the test may kill; `hold_redis` on its folder starts it again on its port."""
    try:
        service = hold_redis(tmp_path)
    except DemoError as error:
        pytest.skip(str(error))
    with service:
        yield service


@pytest.fixture
def database(sqlite_url: str, tmp_path: Path) -> str:
    return fill(sqlite_url, tmp_path)


def kill(service: RedisService) -> None:
    os.kill(json.loads((service.folder / "endpoint.json").read_text())["pid"], signal.SIGKILL)
    while is_running(service.folder):
        time.sleep(0.01)


def test_redis_stopped_feeds_come_from_memory_and_a_batch_says_so(
    own_redis: RedisService, database: str, tmp_path: Path
) -> None:
    settings = settings_of(database, own_redis.url, tmp_path / "state")
    first = publish(settings)
    server = ask_of(own_redis.url)
    assert feed(server)[:2] == (EXACT, first.id)

    kill(own_redis)
    assert feed(server)[:2] == ("memory", first.id)
    with pytest.raises(SlatesError, match=AWAY):
        publish(settings)
    assert rung(server) == "memory"

    with hold_redis(tmp_path):  # again, with its log
        await_rung(server, EXACT)
        second = publish(settings)
        assert feed(server)[:2] == (EXACT, second.id)
        assert second.previous == first.id


def test_redis_restarted_empty_feeds_come_from_memory_until_a_batch_has_run(
    own_redis: RedisService, database: str, tmp_path: Path
) -> None:
    settings = settings_of(database, own_redis.url, tmp_path / "state")
    before = publish(settings)
    server = ask_of(own_redis.url)
    assert rung(server) == EXACT

    kill(own_redis)
    shutil.rmtree(own_redis.folder / "appendonlydir")
    with hold_redis(tmp_path):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and server.get("/readyz").json["reason"] == "Redis is away":  # type: ignore[index]
            assert feed(server)[:2] == ("memory", before.id)
        assert feed(server)[:2] == ("memory", before.id)
        assert "no generation is live" in server.get("/readyz").json["reason"]  # type: ignore[index]
        after = publish(settings)
        await_rung(server, EXACT)
        assert feed(server)[1] == after.id


def test_redis_full_refuses_batches_and_events_and_readers_go_on(
    redis_url: str, redis_client: Redis, database: str, tmp_path: Path
) -> None:
    settings = settings_of(database, redis_url, tmp_path / "state")
    before = publish(settings)
    server = ask_of(redis_url, open=True)
    event = {"event_id": "e1", "user_id": 203, "post_id": 1, "action": "view"}
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(SlatesError, match=r"is full .*; the live generation is untouched\. Raise its maxmemory"):
            publish(settings)
        assert feed(server)[:2] == (EXACT, before.id)
        answer = server.post("/v1/events", json=event)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert server.post("/v1/events", json=event).status_code == 202
    assert publish(settings).previous == before.id


def test_redis_slow_is_waited_for_once_and_then_done_without(redis_url: str, database: str, tmp_path: Path) -> None:
    publish(settings_of(database, redis_url, tmp_path / "state"))
    with Proxy(redis_url) as proxy:
        server = ask_of(proxy.url)
        expected = feed(server)
        proxy.delay_s = 0.1
        assert feed(server) == expected

        proxy.delay_s = 1.0  # beyond redis_timeout_s
        assert rung(server) == "memory"
        begun = time.monotonic()
        assert rung(server) == "memory"
        assert time.monotonic() - begun < 0.1, "each request waits for a Redis that is known to be slow"

        proxy.recover()
        await_rung(server, EXACT)
        assert feed(server) == expected


def test_a_look_up_cut_in_mid_reply_is_asked_again_on_a_clean_connection(
    redis_url: str, database: str, tmp_path: Path
) -> None:
    publish(settings_of(database, redis_url, tmp_path / "state"))
    with Proxy(redis_url) as proxy:
        server = ask_of(proxy.url)
        expected = feed(server)
        asked = proxy.answered
        assert feed(server) == expected
        of_one = proxy.answered - asked
        for passed in range(0, of_one, 3):
            proxy.cut_after(passed)
            assert feed(server) == expected
            proxy.recover()
            assert feed(server) == expected  # what was left of the answer is nobody's
        assert proxy.cuts == len(range(0, of_one, 3))


def test_a_batch_cut_in_mid_reply_publishes_whole_or_not_at_all(
    redis_url: str, redis_client: Redis, database: str, tmp_path: Path
) -> None:
    settings = settings_of(database, redis_url, tmp_path / "state", publish_batch=3)
    undisturbed = publish(settings)
    expected = digest_slates(redis_client, KEYS, undisturbed.id)
    with Proxy(redis_url) as proxy:
        spoiled = settings.model_copy(update={"redis_url": proxy.url})
        of_runs = []
        for _ in range(4):  # the later ones unlink what earlier ones published
            before = proxy.answered
            publish(spoiled)
            of_runs.append(proxy.answered - before)
        for part in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95):
            proxy.cut_after(int(part * min(of_runs)))
            manifest = publish(spoiled)  # one cut is nothing: it is asked again
            proxy.recover()
            assert differing_keys(digest_slates(redis_client, KEYS, manifest.id), expected) == []
        assert proxy.cuts == 6

        proxy.refuse()
        with pytest.raises(SlatesError, match=AWAY):
            publish(spoiled)
    with closing(connect(redis_url)) as redis:
        live = live_generation(redis, KEYS)
    assert live is not None
    assert differing_keys(digest_slates(redis_client, KEYS, live.id), expected) == []
