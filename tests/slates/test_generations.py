import contextlib
import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from publishing import (
    BUCKETS,
    FIELDS,
    FIRST_BUCKET,
    KEYS,
    LASTING,
    USERS,
    LossyConnection,
    keys_in,
    keys_without_ttl,
    leave_half_written,
    lossy_client,
    manifest_of,
    publish,
    rows_of,
    slate_of,
    states,
    stored,
    write,
)
from redis import Connection, ConnectionPool, Redis

import slates.generations
import slates.standing
import slates.wire
import slates.writer
from slates.client import connect
from slates.errors import CodecError, NoGenerationError, SlatesError, StaleRunError, VerificationError
from slates.generations import (
    GenerationWriter,
    expiry_s,
    list_generations,
    live_generation,
    new_generation_id,
    read_manifest,
    retire,
    rollback,
)
from slates.lock import RunLock, replace_if
from slates.lookup import Lookup


def retire_all(redis: Redis, keep: int = 2, run: int | None = None) -> list[str]:
    return retire(redis, KEYS, keep=keep, user_ids=USERS, segments=["s"], batch=4, run=run)


def id_of(seq: int) -> str:
    return f"20211220T150000-{seq}"


def keys_of(redis: Redis, seq: int) -> int:
    """Count the keys of a generation: when live its manifest, 10 users, a segment, popular."""
    return sum(key.split(":")[:3] == ["hourfeed", "gen", id_of(seq)] for key in keys_in(redis))


@contextlib.contextmanager
def another_client(url: str) -> Iterator[Redis]:
    with contextlib.closing(connect(url)) as client:
        yield client


# Every key ends by itself.


def test_every_key_has_a_ttl_at_every_step_of_a_run(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS) as lock:
        writer = GenerationWriter(redis_client, KEYS, lock, manifest_of(1), ttl_s=3600, batch=3)
        writer.begin()
        assert keys_without_ttl(redis_client) <= LASTING
        writer.write_shard(0, rows_of(id_of(1)))
        assert keys_without_ttl(redis_client) <= LASTING
        assert redis_client.ttl(KEYS.lock) > 0
    publish(redis_client)
    assert keys_without_ttl(redis_client) == LASTING
    publish(redis_client)
    rollback(redis_client, KEYS)
    retire_all(redis_client)
    assert keys_without_ttl(redis_client) == LASTING


def test_ttls_in_redis_lie_between_the_setting_and_a_tenth_more(redis_client: Redis) -> None:
    publish(redis_client, ttl_s=100_000)
    ttls = [redis_client.ttl(key) for key in keys_in(redis_client) - LASTING]
    assert len(ttls) == 14  # 10 users, segment, popular, manifest and a post
    assert min(ttls) >= 100_000 - 60  # so long the test may take
    assert max(ttls) <= 110_000
    assert len(set(ttls)) > 10


def test_expiries_spread_evenly_over_the_last_tenth() -> None:
    expiries = [expiry_s(KEYS.user("20211220T150000-7", str(user)), 10_000) for user in range(10_000)]
    assert min(expiries) >= 10_000
    assert max(expiries) <= 11_000
    in_each_tenth = Counter(min((seconds - 10_000) // 100, 9) for seconds in expiries)
    assert all(900 <= in_each_tenth[tenth] <= 1_100 for tenth in range(10))


def test_an_expiry_rounds_up_to_a_second_within_the_last_tenth() -> None:
    assert {expiry_s(f"k{number}", 1000) for number in range(50_000)} == set(range(1001, 1101))


class RecordingConnection(Connection):
    sent: ClassVar[list[bytes]] = []

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        command = [command] if isinstance(command, bytes) else list(command)
        RecordingConnection.sent += command
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def send_cut(url: str, stream: bytes) -> None:
    """Send what a process sent before it was killed, and return when Redis has worked it off."""
    parts = urlsplit(url)
    password = (parts.password or "").encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(password), password) if password else b"")
        connection.sendall(stream)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def test_a_stream_of_writes_cut_anywhere_leaves_no_key_for_ever(redis_client: Redis, redis_url: str) -> None:
    pool = ConnectionPool.from_url(redis_url, connection_class=RecordingConnection, protocol=2)
    with Redis(connection_pool=pool) as recorded, RunLock(redis_client, KEYS) as lock:
        recorded.ping()
        RecordingConnection.sent.clear()
        write(recorded, lock)
    pool.disconnect()
    whole = b"".join(RecordingConnection.sent)
    commands = [place for place in range(len(whole)) if whole.startswith(b"\r\n*", place)]
    cuts = [cut for place in commands for cut in (place + 2, place + 20)]
    assert len(cuts) > 100  # 14 hashes, each MULTI, HSET, EXPIRE and EXEC, and what is around them
    for cut in cuts:
        redis_client.flushall()
        send_cut(redis_url, whole[:cut])
        assert keys_without_ttl(redis_client) <= LASTING, f"cut after {whole[:cut][-80:]!r}"
    assert keys_of(redis_client, 1) == 14  # the last cut is near the end, so the streams were understood


# Readers.


def test_pointer_and_live_slates_stay_until_the_flip(redis_client: Redis) -> None:
    publish(redis_client)
    before = stored(redis_client, id_of(1))
    with RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        writer.verify(FIELDS)
        assert redis_client.get(KEYS.current) == id_of(1).encode()
        assert states(redis_client) == {1: "live", 2: "writing"}
        writer.flip(writer.manifest)
    assert redis_client.get(KEYS.current) == id_of(2).encode()
    assert states(redis_client) == {1: "superseded", 2: "live"}
    assert stored(redis_client, id_of(1)) == before


def test_readers_see_only_whole_generations_through_flips(redis_client: Redis, redis_url: str) -> None:
    publish(redis_client)
    done, wrong, seen = threading.Event(), list[Any](), set[str]()

    def read(first_user: int) -> None:
        with another_client(redis_url) as client:
            lookup = Lookup(client, KEYS)
            turn = first_user
            while not done.is_set():
                turn += 1
                user_id, bucket = USERS[turn % 10], turn % 2
                feed = lookup.feed(user_id, FIRST_BUCKET + bucket, 2)
                seen.add(feed.generation)
                if feed.post_ids != slate_of(feed.generation, user_id, BUCKETS[bucket]):
                    wrong.append(feed)

    readers = [threading.Thread(target=read, args=(number * 3,)) for number in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(25):
            publish(redis_client)
            retire_all(redis_client, keep=3)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(seen) > 5


# What is not whole is not published.


def _lose_a_shard(redis: Redis) -> None:
    redis.hdel(KEYS.shards(id_of(2)), "1")


def _change_a_slate(redis: Redis) -> None:
    redis.hset(KEYS.user(id_of(2), "u5"), BUCKETS[0], "another")


def _change_the_popular_slate(redis: Redis) -> None:
    redis.hset(KEYS.popular(id_of(2)), BUCKETS[1], "")


def _lose_a_user(redis: Redis) -> None:
    redis.delete(KEYS.user(id_of(2), "u8"))


def _lose_a_slate(redis: Redis) -> None:
    redis.hdel(KEYS.user(id_of(2), "u8"), BUCKETS[0])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_lose_a_shard, "1 of 2 shards are noted"),
        (_change_a_slate, "user:u5 read back differs"),
        (_change_the_popular_slate, "popular read back differs"),
        (_lose_a_user, "user:u8 is gone"),
        (_lose_a_slate, "user:u8 has 2 fields, not 3"),
    ],
)
def test_damage_between_write_and_verify_keeps_the_generation_unpublished(
    redis_client: Redis, damage: Any, said: str
) -> None:
    publish(redis_client)
    live = stored(redis_client, id_of(1))
    with RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        damage(redis_client)
        with pytest.raises(VerificationError, match=rf"{id_of(2)} stays unpublished: .*{said}"):
            writer.verify(FIELDS)
    assert redis_client.get(KEYS.current) == id_of(1).encode()
    assert states(redis_client) == {1: "live", 2: "writing"}
    assert stored(redis_client, id_of(1)) == live


def test_a_user_that_was_never_written_is_missed(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS) as lock:
        writer = GenerationWriter(redis_client, KEYS, lock, manifest_of(1), ttl_s=3600)
        writer.begin()
        writer.write_shard(0, rows_of(id_of(1), USERS[:9]))
        with pytest.raises(VerificationError, match="27 values were written, not 30"):
            writer.verify(30)


def test_the_longest_slate_is_measured_without_what_else_a_user_has(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS) as lock:
        writer = GenerationWriter(redis_client, KEYS, lock, manifest_of(lock.seq), ttl_s=3600)
        writer.write_shard(0, [(KEYS.user("g", "u"), {BUCKETS[0]: b"1 2", BUCKETS[1]: b"12 34", "acted": b"9" * 2000})])
        assert (writer.written.longest, writer.written.bytes, writer.written.values) == (5, 2008, 3)


def test_an_answer_lost_while_writing_does_not_fail_the_run(redis_client: Redis, redis_url: str) -> None:
    with lossy_client(redis_url) as lossy, RunLock(redis_client, KEYS) as lock:
        LossyConnection.lose = b"user:u7"
        writer = write(lossy, lock)
        assert LossyConnection.lose == b"", "nothing was lost"
        writer.verify(FIELDS)
        writer.flip(writer.manifest)
    assert states(redis_client) == {1: "live"}


# The flip.


def test_a_run_whose_lock_is_gone_publishes_nothing(redis_client: Redis) -> None:
    publish(redis_client)
    with RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        redis_client.delete(KEYS.lock)
        with pytest.raises(StaleRunError, match="run 2 lost hourfeed:lock"):
            writer.flip(writer.manifest)
        for act in (writer.begin, lambda: writer.write_shard(2, []), lambda: writer.write_shared([])):
            with pytest.raises(StaleRunError):
                act()
    assert states(redis_client) == {1: "live", 2: "writing"}


def test_an_older_run_never_replaces_a_newer_one(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    with RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock, seq=2, id="old")
        with pytest.raises(StaleRunError, match=r"run 2 publishes nothing.*newer run 3 is live"):
            writer.flip(writer.manifest)
    assert redis_client.get(KEYS.current) == id_of(3).encode()


def test_a_renewal_of_the_lock_in_the_instant_of_the_flip_does_no_harm(
    redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = []
    with another_client(redis_url) as other, RunLock(redis_client, KEYS) as lock:
        guard = lock.guard

        def guard_then_renew(pipeline: Any) -> None:
            guard(pipeline)
            guards.append(1)
            if len(guards) == 1:
                assert replace_if(other, KEYS.lock, lock.value, lock.value, 30_000)

        writer = write(redis_client, lock)
        monkeypatch.setattr(lock, "guard", guard_then_renew)
        assert writer.flip(writer.manifest).state == "live"
    assert len(guards) == 2
    assert states(redis_client) == {1: "live"}


def test_a_flip_whose_answer_is_lost_is_known_to_have_happened(redis_client: Redis, redis_url: str) -> None:
    publish(redis_client)
    with lossy_client(redis_url) as lossy, RunLock(redis_client, KEYS) as lock:
        writer = write(lossy, lock)
        LossyConnection.lose = b"EXEC"
        live = writer.flip(writer.manifest)
        assert LossyConnection.lose == b"", "nothing was lost"
    assert (live.state, live.previous) == ("live", id_of(1))
    assert live_generation(redis_client, KEYS) == live
    assert states(redis_client) == {1: "superseded", 2: "live"}


def test_a_pointer_to_an_expired_generation_is_replaced_without_reviving_its_manifest(redis_client: Redis) -> None:
    publish(redis_client)
    redis_client.delete(KEYS.generation(id_of(1)))
    publish(redis_client)
    assert not redis_client.exists(KEYS.generation(id_of(1)))
    assert keys_without_ttl(redis_client) == LASTING


# Going back.


def test_rollback_returns_to_the_generation_before_and_says_so_in_both_manifests(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    live = rollback(redis_client, KEYS)
    assert (live.id, live.state) == (id_of(2), "live")
    assert live == live_generation(redis_client, KEYS)
    assert states(redis_client) == {1: "superseded", 2: "live", 3: "rolled_back"}
    assert rollback(redis_client, KEYS).id == id_of(1)
    assert states(redis_client) == {1: "live", 2: "rolled_back", 3: "rolled_back"}


def test_rollback_by_id_goes_back_and_forth(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    rollback(redis_client, KEYS, id_of(1))
    assert states(redis_client) == {1: "live", 2: "superseded", 3: "rolled_back"}
    rollback(redis_client, KEYS, id_of(3))
    assert states(redis_client) == {1: "rolled_back", 2: "superseded", 3: "live"}
    assert rollback(redis_client, KEYS, id_of(3)).state == "live"  # where it is already
    assert states(redis_client) == {1: "rolled_back", 2: "superseded", 3: "live"}


def test_rollback_refuses_what_cannot_be_served_and_lists_what_can(redis_client: Redis) -> None:
    with pytest.raises(NoGenerationError, match=r"no generation was live before; .*go back to: none"):
        rollback(redis_client, KEYS)
    for _ in range(3):
        publish(redis_client)
    half = leave_half_written(redis_client)
    redis_client.delete(KEYS.generation(id_of(1)))  # as if it had expired
    for refused in ("nonsense", half, id_of(1)):
        with pytest.raises(NoGenerationError, match=rf"'{refused}' cannot be served; .*go back to: {id_of(2)}$"):
            rollback(redis_client, KEYS, refused)
    assert redis_client.get(KEYS.current) == id_of(3).encode()
    assert keys_without_ttl(redis_client) == LASTING


def test_a_batch_after_a_rollback_follows_the_generation_that_was_gone_back_to(redis_client: Redis) -> None:
    publish(redis_client)
    publish(redis_client)
    rollback(redis_client, KEYS)
    assert publish(redis_client).previous == id_of(1)
    assert states(redis_client) == {1: "superseded", 2: "rolled_back", 3: "live"}


def test_a_run_in_flight_during_a_rollback_publishes_over_it(redis_client: Redis) -> None:
    publish(redis_client)
    publish(redis_client)
    with RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        rollback(redis_client, KEYS)
        writer.verify(FIELDS)
        assert writer.flip(writer.manifest).previous == id_of(1)
    assert states(redis_client) == {1: "superseded", 2: "rolled_back", 3: "live"}


def _do_once_after_standing(monkeypatch: pytest.MonkeyPatch, module: Any, act: Any) -> None:
    """Let `act` happen once, after `module` has read where the live generation stands, before its transaction."""
    read, done = module.read_standing, list[int]()

    def read_then_act(*args: Any) -> Any:
        standing = read(*args)
        if not done:
            done.append(1)
            act()
        return standing

    monkeypatch.setattr(module, "read_standing", read_then_act)


def test_a_rollback_in_the_instant_of_a_flip_is_seen_by_the_run(
    redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(redis_client)
    publish(redis_client)
    with another_client(redis_url) as other, RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        _do_once_after_standing(monkeypatch, slates.writer, lambda: rollback(other, KEYS))
        assert writer.flip(writer.manifest).previous == id_of(1)
    assert states(redis_client) == {1: "superseded", 2: "rolled_back", 3: "live"}


def test_a_rollback_from_an_expired_generation_in_the_instant_of_a_flip_is_seen_by_the_run(
    redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(redis_client)
    publish(redis_client)
    redis_client.delete(KEYS.generation(id_of(2)))
    with another_client(redis_url) as other, RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        _do_once_after_standing(monkeypatch, slates.writer, lambda: rollback(other, KEYS, id_of(1)))
        assert writer.flip(writer.manifest).previous == id_of(1)
    assert keys_without_ttl(redis_client) == LASTING
    assert not redis_client.exists(KEYS.generation(id_of(2)))


def test_a_flip_in_the_instant_of_a_rollback_wins(
    redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(redis_client)
    publish(redis_client)
    with another_client(redis_url) as other:
        _do_once_after_standing(monkeypatch, slates.generations, lambda: publish(other))
        with pytest.raises(SlatesError, match="nothing was rolled back"):
            rollback(redis_client, KEYS)
    assert states(redis_client) == {1: "superseded", 2: "superseded", 3: "live"}


# Clearing away.


def test_retire_keeps_the_newest_and_unlinks_all_keys_of_the_older(redis_client: Redis) -> None:
    for _ in range(5):
        publish(redis_client)
    assert [keys_of(redis_client, seq) for seq in range(1, 6)] == [13] * 5
    assert retire_all(redis_client, keep=3) == [id_of(2), id_of(1)]
    assert [keys_of(redis_client, seq) for seq in range(1, 6)] == [0, 0, 13, 13, 13]
    assert states(redis_client) == {3: "superseded", 4: "superseded", 5: "live"}
    assert redis_client.exists(KEYS.post("p"))


def test_retire_never_scans(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    redis_client.config_resetstat()
    assert retire_all(redis_client) == [id_of(1)]
    sent = set(redis_client.info("commandstats"))
    assert not {name for name in sent if "scan" in name or name == "cmdstat_keys"}
    assert "cmdstat_unlink" in sent


def test_retire_protects_the_live_generation_and_the_one_before_however_old(redis_client: Redis) -> None:
    for _ in range(6):
        publish(redis_client)
    rollback(redis_client, KEYS, id_of(2))
    assert retire_all(redis_client, keep=2) == [id_of(4), id_of(3)]
    assert states(redis_client) == {1: "superseded", 2: "live", 5: "superseded", 6: "rolled_back"}
    assert keys_of(redis_client, 1) == keys_of(redis_client, 2) == 13


def test_the_next_run_clears_away_what_killed_runs_left(redis_client: Redis) -> None:
    publish(redis_client)
    leave_half_written(redis_client)
    leave_half_written(redis_client)
    assert keys_of(redis_client, 2) == keys_of(redis_client, 3) == 7  # manifest, shards, 5 users
    publish(redis_client)
    assert retire_all(redis_client, keep=3) == [id_of(3), id_of(2)]
    assert keys_of(redis_client, 2) == keys_of(redis_client, 3) == 0
    assert states(redis_client) == {1: "superseded", 4: "live"}


def test_a_run_can_clear_away_what_killed_runs_left_before_it_writes(redis_client: Redis) -> None:
    publish(redis_client)
    leave_half_written(redis_client)
    with RunLock(redis_client, KEYS) as lock:
        write(redis_client, lock)
        assert retire_all(redis_client, run=lock.seq) == [id_of(2)]
    assert [keys_of(redis_client, seq) for seq in (1, 2, 3)] == [13, 0, 14]  # what is not live has its shards noted


def test_a_run_that_lost_its_lock_after_publishing_spares_the_generation_of_its_successor(redis_client: Redis) -> None:
    publish(redis_client)
    leave_half_written(redis_client)  # stands for the successor, still at it
    assert retire_all(redis_client) == []
    assert keys_of(redis_client, 2) == 7
    assert states(redis_client) == {1: "live", 2: "writing"}


def test_a_generation_that_is_rolled_back_to_in_the_instant_of_its_retirement_stays(
    redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        publish(redis_client)
    read, calls = slates.standing.read_live_id, list[int]()
    with another_client(redis_url) as other:

        def read_then_roll_back(*args: Any) -> str:
            live_id: str = read(*args)
            calls.append(1)
            if len(calls) == 2:  # the second look, before the unlink
                rollback(other, KEYS, id_of(1))
            return live_id

        monkeypatch.setattr(slates.generations, "read_live_id", read_then_roll_back)
        assert retire_all(redis_client) == []
    assert keys_of(redis_client, 1) == 13
    assert states(redis_client) == {1: "live", 2: "superseded", 3: "rolled_back"}


def test_a_retirement_cut_short_is_finished_by_the_next(redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        publish(redis_client)
    send = slates.wire.send

    def send_once(*arguments: Any) -> Any:
        monkeypatch.setattr("slates.generations.send", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        return send(*arguments)

    monkeypatch.setattr("slates.generations.send", send_once)
    with pytest.raises(KeyboardInterrupt):
        retire_all(redis_client)
    # 13 without the manifest and two of the first four names: one is of packed ones, one was there until the flip
    assert keys_of(redis_client, 1) == 10
    with pytest.raises(NoGenerationError):
        rollback(redis_client, KEYS, id_of(1))
    monkeypatch.setattr("slates.generations.send", send)
    assert retire_all(redis_client) == [id_of(1)]
    assert keys_of(redis_client, 1) == 0


# Other versions.


def test_a_manifest_that_lacks_a_field_is_named_in_a_clear_error(redis_client: Redis) -> None:
    publish(redis_client)
    redis_client.hset(KEYS.generation(id_of(1)), "of_the_future", "x")
    assert read_manifest(redis_client, KEYS, id_of(1)) == live_generation(redis_client, KEYS)
    redis_client.hdel(KEYS.generation(id_of(1)), "top_n")
    with pytest.raises(CodecError, match=rf"{id_of(1)}.* lacks top_n; .*another version"):
        read_manifest(redis_client, KEYS, id_of(1))


@pytest.mark.parametrize(("name", "value"), [("as_of", "yesterday"), ("users", "ten"), ("first_bucket", "15")])
def test_a_manifest_with_an_unreadable_field_is_named_in_a_clear_error(
    redis_client: Redis, name: str, value: str
) -> None:
    publish(redis_client)
    redis_client.hset(KEYS.generation(id_of(1)), name, value)
    with pytest.raises(CodecError, match=id_of(1)):
        live_generation(redis_client, KEYS)


def test_listing_passes_over_a_generation_of_another_version_and_says_so(
    redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        publish(redis_client)
    redis_client.hdel(KEYS.generation(id_of(2)), "codec")
    with caplog.at_level(logging.WARNING):
        assert [manifest.id for manifest in list_generations(redis_client, KEYS)] == [id_of(3), id_of(1)]
    assert f"passed over: generation {id_of(2)}: the manifest lacks codec" in caplog.text


def test_a_run_follows_retires_and_rolls_back_generations_of_another_version(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    for seq in (1, 2, 3):
        redis_client.hdel(KEYS.generation(id_of(seq)), "codec")
    assert publish(redis_client).previous == id_of(3)
    assert states(redis_client) == {1: "superseded", 2: "superseded", 3: "superseded", 4: "live"}
    assert retire_all(redis_client) == [id_of(2), id_of(1)]
    with pytest.raises(CodecError, match=id_of(3)):
        rollback(redis_client, KEYS)
    publish(redis_client)
    redis_client.hdel(KEYS.generation(id_of(5)), "codec")  # a newer version was tried, and shall be left
    assert rollback(redis_client, KEYS).id == id_of(4)


# A full Redis.


@pytest.fixture
def full_soon(redis_client: Redis) -> Iterator[Redis]:
    """A server with a generation, and room for about half a megabyte more."""
    publish(redis_client)
    redis_client.config_set("maxmemory-policy", "noeviction")
    redis_client.config_set("maxmemory", redis_client.info("memory")["used_memory"] + 500_000)
    yield redis_client
    redis_client.config_set("maxmemory", 0)


def test_a_full_redis_stops_the_run_with_a_sentence_and_leaves_the_live_generation(full_soon: Redis) -> None:
    before = stored(full_soon, id_of(1))
    with RunLock(full_soon, KEYS) as lock:
        writer = GenerationWriter(full_soon, KEYS, lock, manifest_of(2), ttl_s=3600)
        writer.begin()
        rows = [(KEYS.user(id_of(2), f"new{number}"), {BUCKETS[0]: b"x" * 1_000}) for number in range(3_000)]
        with pytest.raises(SlatesError, match=r"Redis is full .*maxmemory.*live generation is untouched"):
            writer.write_shard(0, rows)
    assert keys_without_ttl(full_soon) == LASTING
    assert keys_of(full_soon, 2) > 100
    assert states(full_soon) == {1: "live", 2: "writing"}
    assert stored(full_soon, id_of(1)) == before
    with pytest.raises(SlatesError, match="Redis is full"):
        publish(full_soon)  # it cannot even take the lock, and leaves nothing behind
    assert not full_soon.exists(KEYS.lock)

    full_soon.config_set("maxmemory", full_soon.info("memory")["used_memory"] + 5_000_000)
    assert publish(full_soon).previous == id_of(1)
    users = [f"new{number}" for number in range(3_000)]
    assert retire(full_soon, KEYS, keep=3, user_ids=users, segments=[]) == [id_of(2)]
    assert keys_of(full_soon, 2) == 0


def test_a_redis_that_is_full_at_the_flip_stops_it_with_a_sentence(full_soon: Redis) -> None:
    with RunLock(full_soon, KEYS) as lock:
        writer = write(full_soon, lock)
        full_soon.config_set("maxmemory", 1)
        with pytest.raises(SlatesError, match="Redis is full"):
            writer.flip(writer.manifest)
    assert full_soon.get(KEYS.current) == id_of(1).encode()
    assert states(full_soon) == {1: "live", 2: "writing"}


def test_a_foreign_key_in_the_way_stops_the_run_with_a_sentence(redis_client: Redis) -> None:
    redis_client.set(KEYS.user(id_of(1), "u6"), "a string", ex=60)
    with RunLock(redis_client, KEYS) as lock, pytest.raises(SlatesError, match=r"refused a write .*WRONGTYPE"):
        write(redis_client, lock)
    assert redis_client.get(KEYS.current) is None


# Names.


def test_a_generation_is_named_by_its_time_in_utc_and_its_run() -> None:
    moment = datetime.fromisoformat("2021-12-20T18:00:00+03:00")
    assert new_generation_id(moment, 7) == "20211220T150000-7"
    assert new_generation_id(datetime(2021, 12, 20, 15, tzinfo=UTC), 7) == "20211220T150000-7"


def test_an_unchanged_manifest_comes_back_from_redis(redis_client: Redis) -> None:
    published = publish(redis_client, seconds={"read": 1.5}, quarantined=3, built_at=datetime(2021, 12, 20, tzinfo=UTC))
    assert read_manifest(redis_client, KEYS, published.id) == published
    assert published == replace(
        manifest_of(1), state="live", seconds={"read": 1.5}, quarantined=3, built_at=datetime(2021, 12, 20, tzinfo=UTC)
    )
