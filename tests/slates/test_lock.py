import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest
from publishing import KEYS, USERS, LossyConnection, lossy_client, publish, states, stored
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import slates.lock
from slates.client import connect
from slates.errors import LockHeldError, SlatesError, StaleRunError
from slates.generations import list_generations, made_since, retire, rollback
from slates.lock import RunLock, replace_if

ROOT = Path(__file__).resolve().parents[2]
PROLOGUE = """\
import sys
from publishing import FIELDS, KEYS, write
import slates.lock
from slates.client import connect
from slates.errors import StaleRunError
from slates.lock import RunLock
slates.lock._host = lambda host=sys.argv[3] or slates.lock._host(): host
with connect(sys.argv[1]) as redis, RunLock(redis, KEYS, ttl_s=float(sys.argv[2])) as lock:
"""
HOLD = """\
    print(lock.seq, flush=True)
    sys.stdin.readline()
"""
WRITE_THEN_FLIP_WHEN_TOLD = """\
    writer = write(redis, lock)
    writer.verify(FIELDS)
    print(lock.seq, flush=True)
    sys.stdin.readline()
    try:
        writer.flip(writer.manifest)
        print("flipped", flush=True)
    except StaleRunError as error:
        print(error, flush=True)
"""


@contextlib.contextmanager
def holder(url: str, *, ttl_s: float = 30.0, host: str = "", then: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, on this host or as if it were on another one."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "slates")])
    with subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + then, url, str(ttl_s), host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            assert read_line(process.stdout).isdigit(), "the holder did not get the lock"
            yield process
        finally:
            process.kill()


def read_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.01)


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slates.lock, "_POLL_S", 0.01)


def test_the_refusal_names_the_holder(redis_client: Redis, redis_url: str) -> None:
    with (
        holder(redis_url, host="big-machine") as process,
        pytest.raises(LockHeldError, match=rf"hourfeed:lock \(process {process.pid} on big-machine\)"),
        RunLock(redis_client, KEYS, wait_s=0),
    ):
        pass


def test_a_refusal_outlives_a_holder_of_another_version(redis_client: Redis) -> None:
    for value in (b"7", b"[]", b'{"host":1}', b"\xff", b""):
        redis_client.set(KEYS.lock, value, px=60_000)
        with pytest.raises(LockHeldError, match="holder unknown"), RunLock(redis_client, KEYS, wait_s=0):
            pass
        assert redis_client.get(KEYS.lock) == value


@pytest.mark.usefixtures("quick_polls")
def test_a_waiting_run_gets_the_lock_once_it_is_given_back(redis_client: Redis, redis_url: str) -> None:
    got = threading.Event()

    def wait_for_it() -> None:
        with contextlib.closing(connect(redis_url)) as client, RunLock(client, KEYS, wait_s=20):
            got.set()

    waiter = threading.Thread(target=wait_for_it)
    with RunLock(redis_client, KEYS) as lock:
        waiter.start()
        asked = redis_client.info("commandstats")["cmdstat_set"]["calls"]
        eventually(lambda: redis_client.info("commandstats")["cmdstat_set"]["calls"] > asked + 5)
        assert not got.is_set()
        assert redis_client.get(KEYS.lock) == lock.value
    waiter.join()
    assert got.is_set()
    assert redis_client.get(KEYS.lock) is None


@pytest.mark.usefixtures("quick_polls")
def test_only_one_of_many_runs_holds_the_lock_and_their_numbers_rise(redis_client: Redis, redis_url: str) -> None:
    inside, overlaps, numbers = list[int](), list[int](), list[int]()

    def run(name: int) -> None:
        with contextlib.closing(connect(redis_url)) as client:
            for _ in range(5):
                with RunLock(client, KEYS, wait_s=30) as lock:
                    overlaps.extend(inside)
                    inside.append(name)
                    numbers.append(lock.seq)
                    client.ping()
                    inside.remove(name)

    runs = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert overlaps == []
    assert numbers == list(range(1, 21))


def test_a_refused_run_draws_no_number(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS) as first:
        for _ in range(3):
            with pytest.raises(LockHeldError), RunLock(redis_client, KEYS, wait_s=0):
                pass
    with RunLock(redis_client, KEYS) as second:
        assert (first.seq, second.seq) == (1, 2)


@pytest.mark.usefixtures("quick_polls")
def test_a_run_that_waited_for_two_others_may_publish_after_them(redis_client: Redis, redis_url: str) -> None:
    """The one that begins to wait first is not the first to get the lock, and none is the older for it."""
    published = []

    def wait_and_publish() -> None:
        with contextlib.closing(connect(redis_url)) as client:
            published.append(publish(client))

    waiters = [threading.Thread(target=wait_and_publish) for _ in range(3)]
    with RunLock(redis_client, KEYS):
        for waiter in waiters:
            waiter.start()
        asked = redis_client.info("commandstats")["cmdstat_set"]["calls"]
        eventually(lambda: redis_client.info("commandstats")["cmdstat_set"]["calls"] > asked + 20)
    for waiter in waiters:
        waiter.join()
    assert [manifest.seq for manifest in published] == [2, 3, 4]
    assert states(redis_client) == {2: "superseded", 3: "superseded", 4: "live"}


def test_a_killed_holder_on_this_host_is_replaced_at_once(redis_client: Redis, redis_url: str) -> None:
    with holder(redis_url, ttl_s=300) as process:
        process.kill()
        process.wait()
        assert redis_client.pttl(KEYS.lock) > 200_000
        with RunLock(redis_client, KEYS, wait_s=0) as lock:
            assert lock.seq == 2
            assert redis_client.get(KEYS.lock) == lock.value


def test_a_killed_holder_on_another_host_is_replaced_after_its_ttl(redis_client: Redis, redis_url: str) -> None:
    with holder(redis_url, ttl_s=1.0, host="elsewhere") as process:
        process.kill()
        process.wait()
        begun, left_ms = time.monotonic(), redis_client.pttl(KEYS.lock)
        assert left_ms > 0
        with pytest.raises(LockHeldError, match="on elsewhere"), RunLock(redis_client, KEYS, wait_s=0):
            pass
        with RunLock(redis_client, KEYS, wait_s=20):
            assert time.monotonic() - begun >= (left_ms - 5) / 1000


def test_a_holder_that_still_runs_is_never_taken_for_dead(redis_client: Redis, redis_url: str) -> None:
    with holder(redis_url) as process, pytest.raises(LockHeldError), RunLock(redis_client, KEYS, wait_s=0.5):
        pass
    assert process.returncode == -signal.SIGKILL  # it ran until the test was over


def test_renewal_keeps_the_lock_over_several_ttls(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS, ttl_s=0.9) as lock:
        over = time.monotonic() + 3 * 0.9
        while time.monotonic() < over:
            assert redis_client.get(KEYS.lock) == lock.value
        lock.check()
    assert redis_client.get(KEYS.lock) is None


def test_renewal_goes_on_after_a_broken_connection(redis_client: Redis, redis_url: str) -> None:
    with lossy_client(redis_url) as lossy, RunLock(lossy, KEYS, ttl_s=1.5) as lock:
        LossyConnection.lose = b"EXEC"  # the next renewal's
        eventually(lambda: LossyConnection.lose == b"")
        over = time.monotonic() + 2.0
        while time.monotonic() < over:
            assert redis_client.get(KEYS.lock) == lock.value


def test_a_lock_whose_grant_was_lost_on_the_way_is_still_ours(redis_client: Redis, redis_url: str) -> None:
    with lossy_client(redis_url) as lossy:
        LossyConnection.lose = b"hourfeed:lock"
        with RunLock(lossy, KEYS, wait_s=0) as lock:
            assert LossyConnection.lose == b"", "nothing was lost"
            assert redis_client.get(KEYS.lock) == lock.value
    assert redis_client.get(KEYS.lock) is None


def test_a_lock_without_a_number_is_given_back(redis_client: Redis) -> None:
    redis_client.set(KEYS.seq, "not a number")
    with pytest.raises(SlatesError, match="not an integer"), RunLock(redis_client, KEYS):
        pass
    assert redis_client.get(KEYS.lock) is None


def test_a_paused_holder_cannot_publish_over_the_run_that_took_its_turn(redis_client: Redis, redis_url: str) -> None:
    with holder(redis_url, ttl_s=0.5, then=WRITE_THEN_FLIP_WHEN_TOLD) as paused:
        os.kill(paused.pid, signal.SIGSTOP)
        eventually(lambda: not redis_client.exists(KEYS.lock))
        newer = publish(redis_client)
        slates_of_newer = stored(redis_client, newer.id)
        os.kill(paused.pid, signal.SIGCONT)
        tell(paused)
        assert read_line(paused.stdout).startswith("run 1 lost hourfeed:lock")
        assert paused.wait(20) == 0
    assert newer.seq == 2
    assert redis_client.get(KEYS.current) == newer.id.encode()
    assert states(redis_client) == {1: "writing", 2: "live"}
    assert stored(redis_client, newer.id) == slates_of_newer


def test_a_holder_that_was_paused_gives_nobody_elses_lock_back(redis_client: Redis, redis_url: str) -> None:
    with holder(redis_url, ttl_s=0.5) as paused:
        os.kill(paused.pid, signal.SIGSTOP)
        eventually(lambda: not redis_client.exists(KEYS.lock))
        with RunLock(redis_client, KEYS) as lock:
            os.kill(paused.pid, signal.SIGCONT)
            tell(paused)
            assert paused.wait(20) == 0
            lock.check()
            assert redis_client.get(KEYS.lock) == lock.value


def test_a_holder_that_was_not_paused_may_publish(redis_client: Redis, redis_url: str) -> None:
    with holder(redis_url, ttl_s=5, then=WRITE_THEN_FLIP_WHEN_TOLD) as process:
        tell(process)
        assert read_line(process.stdout) == "flipped"
        assert process.wait(20) == 0
    assert states(redis_client) == {1: "live"}


def test_an_error_in_the_run_gives_the_lock_back_and_stays_the_error(redis_client: Redis) -> None:
    with pytest.raises(ZeroDivisionError), RunLock(redis_client, KEYS):
        assert 1 / 0
    assert redis_client.get(KEYS.lock) is None


def test_an_error_in_the_run_is_not_hidden_by_a_redis_that_is_gone(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(RunLock, "_release", away)
    with pytest.raises(ZeroDivisionError), RunLock(redis_client, KEYS):
        assert 1 / 0
    redis_client.delete(KEYS.lock)
    with pytest.raises(RedisConnectionError), RunLock(redis_client, KEYS):
        pass


def test_a_lock_says_when_it_was_lost(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS) as lock:
        lock.check()
        redis_client.set(KEYS.lock, "another's", px=60_000)
        with pytest.raises(StaleRunError, match="run 1 lost hourfeed:lock"):
            lock.check()
        with redis_client.pipeline() as pipeline, pytest.raises(StaleRunError, match="run 1 lost"):
            lock.guard(pipeline)
    assert redis_client.get(KEYS.lock) == b"another's"


def test_a_value_is_replaced_only_if_it_is_the_expected_one(redis_client: Redis) -> None:
    redis_client.set("hourfeed:x", "old")
    assert not replace_if(redis_client, "hourfeed:x", b"other", b"new", 1000)
    assert redis_client.get("hourfeed:x") == b"old"
    assert replace_if(redis_client, "hourfeed:x", b"old", b"new", 60_000)
    assert redis_client.get("hourfeed:x") == b"new"
    assert redis_client.pttl("hourfeed:x") > 50_000
    assert replace_if(redis_client, "hourfeed:x", b"new", None)
    assert not redis_client.exists("hourfeed:x")
    assert not replace_if(redis_client, "hourfeed:x", b"new", None)


def test_what_lies_in_redis_names_host_and_process_for_a_person(redis_client: Redis) -> None:
    with RunLock(redis_client, KEYS):
        shown = json.loads(redis_client.get(KEYS.lock) or b"")
        assert shown["pid"] == os.getpid()
        assert shown["host"].split("/")[0] == os.uname().nodename
        assert 0 < redis_client.pttl(KEYS.lock) <= 30_000


# Order goes by numbers, whatever clocks and counters do.


def test_a_counter_that_was_lost_goes_on_above_the_generations_that_there_are(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    redis_client.delete(KEYS.seq)
    newer = publish(redis_client)
    assert newer.seq == 4
    assert redis_client.get(KEYS.current) == newer.id.encode()
    assert publish(redis_client).seq == 5


def test_a_counter_below_a_generation_that_was_rolled_back_is_raised_too(redis_client: Redis) -> None:
    for _ in range(3):
        publish(redis_client)
    rollback(redis_client, KEYS)
    redis_client.set(KEYS.seq, 1)
    assert publish(redis_client).seq == 4


def test_a_clock_that_was_set_back_changes_neither_what_is_live_nor_what_is_kept(redis_client: Redis) -> None:
    """Given runs of a clock that was a year ahead, when it is set back, then the newest runs stay, not the latest."""
    ahead = datetime(2027, 1, 1, tzinfo=UTC)
    for _ in range(3):
        publish(redis_client, started_at=ahead)
    for _ in range(3):
        publish(redis_client)
    assert [manifest.seq for manifest in list_generations(redis_client, KEYS)] == [6, 5, 4, 3, 2, 1]
    gone = retire(redis_client, KEYS, keep=3, user_ids=USERS, segments=["s"])
    assert {name.rpartition("-")[2] for name in gone} == {"1", "2", "3"}
    assert states(redis_client) == {4: "superseded", 5: "superseded", 6: "live"}


def test_a_generation_of_a_clock_that_was_ahead_does_not_stand_for_later_ticks(redis_client: Redis) -> None:
    publish(redis_client, as_of=datetime(2021, 12, 21, 15, tzinfo=UTC))
    now = datetime(2021, 12, 20, 15, tzinfo=UTC)
    assert made_since(redis_client, KEYS, now, now) is None
    of_now = publish(redis_client, as_of=now)
    for behind_s in (0, 59):
        found = made_since(redis_client, KEYS, now, now - timedelta(seconds=behind_s))
        assert found is not None
        assert found.id == of_now.id
    assert made_since(redis_client, KEYS, now + timedelta(seconds=1), now + timedelta(seconds=1)) is None


def test_only_a_full_run_stands_for_a_full_one(redis_client: Redis) -> None:
    now = datetime(2021, 12, 20, 15, tzinfo=UTC)
    publish(redis_client, as_of=now, run="refresh")
    assert made_since(redis_client, KEYS, now, now) is not None
    assert made_since(redis_client, KEYS, now, now, full=True) is None
    publish(redis_client, as_of=now, run="full")
    assert made_since(redis_client, KEYS, now, now, full=True) is not None


def test_a_blocked_generation_stands_for_its_tick_unless_it_is_not_to(redis_client: Redis) -> None:
    now = datetime(2021, 12, 20, 15, tzinfo=UTC)
    of_now = publish(redis_client, as_of=now)
    for state, stands in ("blocked", True), ("candidate", False), ("writing", False):
        redis_client.hset(KEYS.generation(of_now.id), "state", state)
        assert (made_since(redis_client, KEYS, now, now) is not None) is stands
        assert made_since(redis_client, KEYS, now, now, blocked=False) is None
