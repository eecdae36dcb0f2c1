"""Redis fails over to a replica: by a real sentinel, and by an address that goes over to a server which lacks a key."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sentinels import Sentinels, sentinels_in
from tiny_network import EXACT, ask_of, await_rung, feed, fill, publish, settings_of

from bench.generation import differing_keys, digest_slates
from bench.proxy import Proxy
from demo.errors import DemoError
from demo.services import hold_redis
from slates import shard_writer, wire
from slates.client import connect
from slates.errors import SlatesError, VerificationError
from slates.generations import live_generation
from slates.keys import Keys
from slates.writer import GenerationWriter

KEYS = Keys()


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    try:
        with sentinels_in(tmp_path / "servers") as made:
            yield made
    except DemoError as error:
        pytest.skip(str(error))


@pytest.fixture
def database(sqlite_url: str, tmp_path: Path) -> str:
    return fill(sqlite_url, tmp_path)


def live_digests(redis: Redis) -> tuple[str, dict[str, bytes]]:
    live = live_generation(redis, KEYS)
    assert live is not None
    return live.id, digest_slates(redis, KEYS, live.id)


def test_readers_have_memory_during_a_failover_and_the_same_feeds_after_it(
    sentinels: Sentinels, database: str, tmp_path: Path
) -> None:
    settings = settings_of(database, sentinels.url, tmp_path / "state")
    first = publish(settings)
    server = ask_of(sentinels.url)
    expected = feed(server)
    assert expected[:2] == (EXACT, first.id)

    sentinels.kill_master()
    assert feed(server)[:2] == ("memory", first.id)
    await_rung(server, EXACT)
    assert feed(server) == expected
    assert publish(settings).previous == first.id


@pytest.mark.parametrize("nth", [1, 5])
def test_a_batch_in_mid_publish_during_a_failover_publishes_whole_or_not_at_all(
    sentinels: Sentinels, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    settings = settings_of(database, sentinels.url, tmp_path / "state", publish_batch=3)
    first = publish(settings)
    with closing(connect(sentinels.url)) as redis:
        expected = digest_slates(redis, KEYS, first.id)
    sent = [0]

    def kill_then_send(*arguments: Any, **named: Any) -> list[Any]:
        sent[0] += 1
        if sent[0] == nth:
            sentinels.kill_master()
        return wire.send(*arguments, **named)

    monkeypatch.setattr(shard_writer, "send", kill_then_send)
    try:
        published: str | None = publish(settings).id
    except SlatesError:  # the replica lacked some of what was written
        published = None
    assert sent[0] >= nth
    sentinels.await_failover()
    with closing(connect(sentinels.url)) as redis:
        live, digests = live_digests(redis)
        assert live == (published or first.id)
        assert differing_keys(digests, expected) == []
        following = publish(settings)
        assert live_digests(redis)[0] == following.id
        assert differing_keys(live_digests(redis)[1], expected) == []


@pytest.fixture
def two_servers(tmp_path: Path) -> Iterator[tuple[str, str, Redis]]:
    """A master, a replica that follows it, and a client of the latter."""
    with ExitStack() as stack:
        try:
            master, replica = (stack.enter_context(hold_redis(tmp_path / name)).url for name in ("one", "two"))
        except DemoError as error:
            pytest.skip(str(error))
        client = stack.enter_context(closing(connect(replica)))
        origin = connect(master).connection_pool.connection_kwargs
        client.config_set("masterauth", origin["password"])
        client.config_set("masteruser", "default")
        client.replicaof(origin["host"], origin["port"])
        with closing(connect(master)) as writer:
            writer.config_set("repl-diskless-sync-delay", 0)
            _await_in_step(writer)
        yield master, replica, client


def _await_in_step(master: Redis) -> None:
    master.set("step", "1", ex=100)
    assert master.wait(1, 10_000) == 1


@pytest.mark.parametrize("lacks", [True, False])
def test_a_flip_never_points_to_what_a_new_master_lacks(
    two_servers: tuple[str, str, Redis], database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: bool
) -> None:
    master, replica, follower = two_servers
    verify = GenerationWriter.verify
    with Proxy(master) as proxy, closing(connect(master)) as writer:
        own = connect(replica).connection_pool.connection_kwargs["password"]
        writer.config_set("requirepass", own)  # one password for both, as behind one address
        follower.config_set("masterauth", own)
        address = proxy.url.replace(connect(master).connection_pool.connection_kwargs["password"], own)
        settings = settings_of(database, address, tmp_path / "state")
        first = publish(settings)
        turns: list[str] = []

        def verify_then_fail_over(self: GenerationWriter, expected_values: int) -> None:
            if lacks and not turns:
                _await_in_step(writer)
                follower.replicaof("NO", "ONE")
                _lose_a_key(follower, self.manifest.id)
            verify(self, expected_values)
            if not turns:
                if not lacks:
                    _await_in_step(writer)
                    follower.replicaof("NO", "ONE")
                proxy.lead_to(replica)
            turns.append(self.manifest.id)

        monkeypatch.setattr(GenerationWriter, "verify", verify_then_fail_over)
        if lacks:
            with pytest.raises(VerificationError, match=r"stays unpublished: hourfeed:gen:\S+:user:207 is gone"):
                publish(settings)
            assert live_digests(follower)[0] == first.id
        else:
            second = publish(settings)
            assert len(turns) == 2  # it was looked at again, on the new master
            assert live_digests(follower)[0] == second.id
            assert live_digests(writer)[0] == first.id


def _lose_a_key(server: Redis, generation: str) -> None:
    assert server.delete(KEYS.user(generation, "207")) == 1
