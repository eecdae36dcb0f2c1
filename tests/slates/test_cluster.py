"""What one Redis does, three masters of a Redis Cluster do too: real ones, on loopback."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from clusters import cluster_in
from publishing import BUCKETS, FIELDS, FIRST_BUCKET, USERS, LossyConnection, manifest_of, rows_of, slate_of
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import MovedError

from demo.errors import DemoError
from slates.arms import ArmsLookup
from slates.blocked import block, unblock
from slates.canary import promote, start_canary
from slates.client import connect
from slates.cluster import control, keys_of, nodes
from slates.entry import string_entry
from slates.erase import erase_user, erased_users, settle_erased
from slates.errors import SlatesError, StaleRunError, VerificationError
from slates.event import Event
from slates.event_stream import add_events, count_waiting, next_events, settle_events
from slates.experiment import CANARY, keys_of_arm
from slates.export import export_generation
from slates.generations import GenerationWriter, list_generations, live_generation, retire, rollback
from slates.keys import Keys
from slates.lock import RunLock
from slates.lookup import Lookup
from slates.manifest import Manifest
from slates.packed import Layout
from slates.posts import read_posts
from slates.rate import count_request
from slates.restore import Archive, Target, import_generation
from slates.seen import note_seen
from slates.wire import send

KEYS = Keys(tagged=True)


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with contextlib.ExitStack() as running:
        try:
            url = running.enter_context(cluster_in(tmp_path_factory.mktemp("cluster")))
        except DemoError as error:
            pytest.skip(str(error))
        yield url


@pytest.fixture
def redis(_cluster: str) -> Iterator[Redis]:
    with contextlib.closing(connect(_cluster)) as client:
        for node in nodes(client):
            node.flushall()
        yield client


def write(redis: Redis, lock: RunLock, codec: str = "ids") -> GenerationWriter:
    manifest = replace(manifest_of(lock.seq), codec=codec, posts=20)
    writer = GenerationWriter(redis, KEYS, lock, manifest, ttl_s=3600, batch=7)
    writer.begin()
    writer.write_posts([(KEYS.post(f"p{number}"), {"text": "t", "topic": "o"}) for number in range(9)])
    shared = dict.fromkeys(BUCKETS, f"{manifest.id}/popular")
    writer.write_shared([(KEYS.popular(manifest.id), shared), (KEYS.segment(manifest.id, "s"), shared)])
    if codec == "ids":
        for shard in range(2):
            writer.write_shard(shard, rows_of(manifest.id, USERS[5 * shard : 5 * shard + 5]))
        return writer
    writer.write_list_of_posts([f"{manifest.id}/{number}" for number in range(20)])
    layout = Layout.of(manifest)
    for shard in range(2):
        users = enumerate(USERS[5 * shard : 5 * shard + 5], start=5 * shard)
        values = [
            (KEYS.user(manifest.id, user), layout.pack([[place], [19 - place]], [], "s")) for place, user in users
        ]
        writer.write_shard(shard, [string_entry(key, value, 3600, values=3) for key, value in values])
    return writer


def publish(redis: Redis, codec: str = "ids") -> Manifest:
    with RunLock(redis, KEYS, wait_s=20) as lock:
        writer = write(redis, lock, codec)
        writer.verify(FIELDS + (codec == "packed"))
        return writer.flip(writer.manifest)


def all_keys(redis: Redis) -> dict[str, int]:
    """Every key on every node, and the seconds that it lives."""
    return {key.decode(): node.ttl(key) for node in nodes(redis) for key in node.scan_iter()}


def test_keys_that_change_together_share_a_slot_and_users_do_not() -> None:
    together = [KEYS.current, KEYS.generations, KEYS.lock, KEYS.seq, KEYS.generation("g"), KEYS.generation("h")]
    assert len({key_slot(key.encode()) for key in together}) == 1
    assert len({key_slot(KEYS.user("g", str(user)).encode()) for user in range(100)}) > 90
    assert KEYS.user("g", "1") == Keys().user("g", "1")
    assert KEYS.generation("g") == "{hourfeed}:gen:g"


def test_a_generation_is_published_over_all_nodes_and_found_by_readers(redis: Redis) -> None:
    live = publish(redis)
    assert keys_of(redis, "hourfeed") == KEYS
    assert live_generation(redis, KEYS) == live
    assert all(node.dbsize() > 3 for node in nodes(redis))
    assert {key for key, ttl in all_keys(redis).items() if ttl < 0} == {KEYS.current, KEYS.generations, KEYS.seq}
    lookup = Lookup(redis, KEYS)
    for user_id in USERS:
        for place, bucket in enumerate(BUCKETS):
            feed = lookup.feed(user_id, FIRST_BUCKET + place, 2)
            assert (feed.post_ids, feed.rung) == (slate_of(live.id, user_id, bucket), "exact")
    assert lookup.feed("stranger", FIRST_BUCKET, 2).post_ids == [f"{live.id}/popular"]
    assert list(read_posts(redis, KEYS, [f"p{number}" for number in range(11)])) == [f"p{n}" for n in range(9)]


def test_packed_generations_and_rollbacks_between_both_codecs(redis: Redis) -> None:
    readable, compact = publish(redis), publish(redis, "packed")
    lookup = Lookup(redis, KEYS)
    for _ in range(2):
        assert lookup.feed("u3", FIRST_BUCKET + 1, 1).post_ids == [f"{compact.id}/16"]
        assert rollback(redis, KEYS, readable.id).id == readable.id
        assert lookup.feed("u3", FIRST_BUCKET + 1, 2).post_ids == slate_of(readable.id, "u3", BUCKETS[1])
        assert rollback(redis, KEYS, compact.id).id == compact.id


def test_posts_are_taken_down_and_back_for_readers_that_know_the_set(redis: Redis) -> None:
    live = publish(redis)
    one, other = slate_of(live.id, "u3", BUCKETS[0])
    lookups = [Lookup(redis, KEYS) for _ in range(2)]
    assert [lookup.feed("u3", FIRST_BUCKET, 2).post_ids for lookup in lookups] == [[one, other]] * 2
    assert block(redis, KEYS, [one]) == 1
    assert [lookup.feed("u3", FIRST_BUCKET, 1).post_ids for lookup in lookups] == [[other]] * 2
    assert unblock(redis, KEYS, [one]) == 1
    assert [lookup.feed("u3", FIRST_BUCKET, 2).post_ids for lookup in lookups] == [[one, other]] * 2


def test_similar_posts_are_written_found_and_unlinked_on_all_nodes(redis: Redis) -> None:
    with RunLock(redis, KEYS, wait_s=20) as lock:
        writer = write(redis, lock)
        ids = [f"p{number}" for number in range(40)]
        writer.write_strings((KEYS.similar(writer.manifest.id, post_id), b"p1 p2") for post_id in ids)
        writer.verify(FIELDS + len(ids))
        first = writer.flip(writer.manifest)
    found = [Lookup(redis, KEYS).similar(post_id, 9) for post_id in ids]
    assert [similar.post_ids for similar in found if similar is not None] == [["p1", "p2"]] * 40
    for _ in range(3):
        publish(redis)
    retire(redis, KEYS, keep=3, user_ids=USERS, segments=["s"], post_ids=ids, batch=4)
    assert not [key for key in all_keys(redis) if f":{first.id}" in key]


def test_requests_are_counted_by_caller_whatever_its_node(redis: Redis) -> None:
    for caller in ("10.0.0.1", "10.0.0.2", "::1", "abc"):
        assert [count_request(redis, KEYS, caller, 7, 60) for _ in range(3)] == [1, 2, 3]
    assert all(100 < ttl <= 120 for ttl in all_keys(redis).values())


def test_old_generations_are_unlinked_on_all_nodes(redis: Redis) -> None:
    first = publish(redis, "packed")
    for _ in range(3):
        publish(redis)
    gone = retire(redis, KEYS, keep=3, user_ids=USERS, segments=["s"], batch=4)
    assert gone == [first.id]
    assert not [key for key in all_keys(redis) if f":{first.id}" in key]
    assert len(list_generations(redis, KEYS)) == 3


def test_a_lost_key_and_a_lost_lock_keep_a_generation_unpublished(redis: Redis) -> None:
    publish(redis)
    with RunLock(redis, KEYS) as lock:
        writer = write(redis, lock)
        redis.delete(KEYS.user(writer.manifest.id, "u8"))
        with pytest.raises(VerificationError, match="user:u8 is gone"):
            writer.verify(FIELDS)
        redis.delete(KEYS.lock)
        with pytest.raises(StaleRunError, match=r"lost \{hourfeed\}:lock"):
            writer.flip(writer.manifest)
    live = live_generation(redis, KEYS)
    assert live is not None
    assert live.seq == 1


def test_an_exec_whose_connection_breaks_is_looked_at_again_and_never_sent_unwatched(redis: Redis) -> None:
    publish(redis)
    with RunLock(redis, KEYS) as lock:
        writer = write(redis, lock)
        pool = control(redis, KEYS).connection_pool
        pool.disconnect()
        pool.reset()
        pool.connection_class = LossyConnection
        LossyConnection.lose = b"EXEC"
        live = writer.flip(writer.manifest)
        assert LossyConnection.lose == b"", "nothing was lost"
    assert (live.state, live.seq) == ("live", 2)
    assert live_generation(redis, KEYS) == live


def test_commands_follow_a_slot_that_moves(redis: Redis) -> None:
    key = KEYS.user("g", "1")
    slot, entry = key_slot(key.encode()), string_entry(key, b"1", 60)
    ready = [(entry.key, entry.commands, entry.replies)]
    assert send(redis, ready) == [b"OK"]
    redis.delete(key)
    owner = next(node for node in nodes(redis) if _owns(node, key))
    other = next(node for node in nodes(redis) if not _owns(node, key))
    _give(redis, slot, other, key)
    try:
        assert send(redis, ready) == [b"OK"]
        assert other.get(key) == b"1"
        redis.delete(key)
    finally:
        _give(redis, slot, owner, key)
    assert send(redis, ready) == [b"OK"]


def _owns(node: Any, key: str) -> bool:
    try:
        node.get(key)
    except MovedError:
        return False
    return True


def _give(redis: Redis, slot: int, node: Any, key: str) -> None:
    """Assign an empty slot to a node; the client is not told."""
    name = node.execute_command("CLUSTER MYID").decode()
    for every in cast("list[Any]", nodes(redis)):
        every.execute_command("CLUSTER SETSLOT", slot, "NODE", name)
    assert [every for every in nodes(redis) if _owns(every, key)] == [node]


def test_a_cluster_that_is_not_there_is_away_and_asked_at_first_use_alone() -> None:
    redis = connect("redis+cluster://127.0.0.1:1", timeout_s=0.2, retries=0)
    lookup = Lookup(redis, keys_of(redis, "hourfeed"))
    with pytest.raises(SlatesError, match="Redis is away"):
        lookup.feed("1", FIRST_BUCKET, 1)


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:6379/3", "http+cluster://127.0.0.1"])
def test_urls_that_no_cluster_has_are_refused(url: str) -> None:
    with pytest.raises(SlatesError, match=r"no database '3'|is not a Redis URL"):
        connect(url)


def test_events_are_taken_in_handed_out_and_erased(redis: Redis) -> None:
    at = datetime(2021, 12, 20, 15, tzinfo=UTC)
    events = [Event(f"e{number}", f"u{number % 5}", f"p{number}", "like", at) for number in range(50)]
    assert add_events(redis, KEYS, events, 100) == 50
    assert add_events(redis, KEYS, events, 100) == 0
    note_seen(redis, KEYS, [(event.user_id, event.post_id) for event in events], 1_000, 600)
    waiting = next_events(redis, KEYS, 20, None)
    assert [entry.event for entry in waiting] == events[:20]
    settle_events(redis, KEYS, [entry.entry_id for entry in waiting])
    live = publish(redis)
    erased = erase_user(redis, KEYS, "u1")
    assert erased == (1, 10, 6, 0)
    assert (count_waiting(redis, KEYS), erased_users(redis, KEYS)) == (24, ["u1"])
    assert not redis.exists(KEYS.user(live.id, "u1"))
    settle_erased(redis, KEYS, ["u1"], ())
    assert erased_users(redis, KEYS) == []


def test_a_canary_runs_and_is_promoted(redis: Redis) -> None:
    base = publish(redis)
    own = keys_of_arm(KEYS, CANARY)
    with RunLock(redis, own, wait_s=20) as lock:
        writer = GenerationWriter(redis, own, lock, replace(manifest_of(lock.seq), users=0), ttl_s=3600, batch=7)
        writer.begin()
        writer.write_shared([(own.popular(writer.manifest.id), dict.fromkeys(BUCKETS, "canary"))])
        tried = writer.flip(writer.manifest)
    start_canary(redis, KEYS, 0.5)
    arms = ArmsLookup(redis, KEYS, Lookup(redis, KEYS))
    found = {arms.feed(f"u{number}", FIRST_BUCKET, 1).feed.generation for number in range(40)}
    assert found == {base.id, tried.id}
    assert promote(redis, KEYS).id == tried.id
    assert {arms.feed(f"x{number}", FIRST_BUCKET, 1).feed.generation for number in range(40)} == {tried.id}


@pytest.mark.parametrize("codec", ["ids", "packed"])
def test_a_generation_leaves_the_cluster_by_a_file_and_comes_back(codec: str, redis: Redis, tmp_path: Path) -> None:
    live = publish(redis, codec)

    class Unheard:
        def stage(self, name: str, done: int, total: int | None) -> None: ...
        def note(self, text: str) -> None: ...

    summary = export_generation(redis, KEYS, tmp_path / "moved", Unheard())
    assert summary.counts["user"] == len(USERS)
    archive = Archive.check(tmp_path / "moved")
    here = import_generation(Target(redis, KEYS, 3600, keep=3), archive, Unheard())
    assert live_generation(redis, KEYS) == here
    for user in USERS:
        read = redis.get if codec == "packed" else redis.hgetall
        assert read(KEYS.user(here.id, user)) == read(KEYS.user(live.id, user))
    assert Lookup(redis, KEYS).feed("u3", FIRST_BUCKET, 1).generation == here.id
