"""How the latest run came out, as runs write it and others read it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from slates.errors import CodecError
from slates.keys import Keys
from slates.last_run import KILLED, LastRun, begin_last_run, end_last_run, read_last_run, told

KEYS = Keys()
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = LastRun("refresh", "running", "worker-1", 7, AT, AT)


def began(redis: Redis, seq: int) -> LastRun:
    redis.set(KEYS.lock, "somebody")
    return begin_last_run(redis, KEYS, replace(RUN, seq=seq))


def ended(redis: Redis, run: LastRun, **changes: Any) -> LastRun:
    redis.delete(KEYS.lock)
    return end_last_run(redis, KEYS, replace(run, ended_at=AT, **changes))


def failed(redis: Redis, seq: int) -> LastRun:
    return ended(redis, began(redis, seq), outcome="failed", stage="read", reason="the table is gone")


def test_what_was_written_is_read(redis_client: Redis) -> None:
    assert read_last_run(redis_client, KEYS) is None
    run = began(redis_client, 7)
    assert read_last_run(redis_client, KEYS) == run == RUN
    run = ended(redis_client, run, outcome="published", generation="20260301T120000-7")
    assert read_last_run(redis_client, KEYS) == run
    assert redis_client.ttl(KEYS.last_run) == -1
    assert redis_client.hget(KEYS.last_run, "begun_at") == b"2026-03-01T12:00:00Z"


def test_failures_in_a_row_are_counted_until_a_run_publishes(redis_client: Redis) -> None:
    assert [failed(redis_client, seq).failures for seq in (1, 2)] == [1, 2]
    assert ended(redis_client, began(redis_client, 3), outcome="stopped").failures == 2
    assert failed(redis_client, 4).failures == 3
    assert ended(redis_client, began(redis_client, 5), outcome="published").failures == 0
    assert failed(redis_client, 6).failures == 1


def test_a_run_that_never_ended_and_holds_no_lock_was_killed_and_counts_as_a_failure(redis_client: Redis) -> None:
    failed(redis_client, 1)
    began(redis_client, 2)
    at_work = read_last_run(redis_client, KEYS)
    assert at_work is not None
    assert (at_work.outcome, at_work.failures) == ("running", 1)
    redis_client.delete(KEYS.lock)
    killed = read_last_run(redis_client, KEYS)
    assert killed is not None
    assert (killed.outcome, killed.failures, killed.reason) == ("killed", 2, KILLED)
    assert began(redis_client, 3).failures == 2


def test_a_run_that_never_ended_is_not_at_work_while_one_of_another_arm_is(redis_client: Redis) -> None:
    redis_client.set(KEYS.seq, 2)
    began(redis_client, 2)
    at_work = read_last_run(redis_client, KEYS)
    assert at_work is not None
    assert at_work.outcome == "running"
    redis_client.set(KEYS.seq, 3)
    arm = replace(KEYS, arm="b")
    begin_last_run(redis_client, arm, replace(RUN, seq=3))
    assert [run.outcome for run in (read_last_run(redis_client, KEYS), read_last_run(redis_client, arm)) if run] == [
        "killed",
        "running",
    ]


def test_a_run_that_lost_its_turn_does_not_cover_what_a_newer_one_says(redis_client: Redis) -> None:
    old = began(redis_client, 1)
    new = began(redis_client, 2)
    ended(redis_client, old, outcome="failed", reason="run 1 lost hourfeed:lock")
    redis_client.set(KEYS.lock, "somebody")
    assert read_last_run(redis_client, KEYS) == new


def test_a_run_that_failed_before_its_turn_is_told_unless_another_is_at_work(redis_client: Redis) -> None:
    early = replace(RUN, seq=0, outcome="failed", reason="no model")
    assert end_last_run(redis_client, KEYS, early).failures == 1
    assert end_last_run(redis_client, KEYS, early).failures == 2
    at_work = began(redis_client, 3)
    end_last_run(redis_client, KEYS, early)
    assert read_last_run(redis_client, KEYS) == at_work


def test_what_another_version_wrote_is_named_and_then_replaced(redis_client: Redis) -> None:
    redis_client.hset(KEYS.last_run, items=[part for pair in RUN.to_hash().items() for part in pair])
    redis_client.hset(KEYS.last_run, "outcome", "odd")
    with pytest.raises(CodecError, match="outcome 'odd'"):
        read_last_run(redis_client, KEYS)
    assert began(redis_client, 8).failures == 0
    assert read_last_run(redis_client, KEYS) is not None
    with pytest.raises(CodecError, match="begun_at"):
        LastRun.from_hash({"run": "full"} | {"as_of": "2026-03-01T12:00:00Z"})


def test_a_run_is_told_in_a_line() -> None:
    assert told(RUN) == "refresh of 2026-03-01T12:00:00Z on worker-1 is at work"
    done = replace(RUN, outcome="published", generation="20260301T120000-7")
    assert told(done) == "refresh of 2026-03-01T12:00:00Z on worker-1 published 20260301T120000-7"
    bad = replace(RUN, outcome="failed", stage="read", reason="no table", failures=3)
    assert told(bad).endswith("on worker-1 failed in the stage read, 3 in a row: no table")
    assert told(replace(bad, outcome="stopped", failures=0, stage="")).endswith("was stopped: no table")
