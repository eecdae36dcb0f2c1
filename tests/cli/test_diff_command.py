"""`hourfeed diff`, `hourfeed release` and `hourfeed status --check`, as a user at a shell meets them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from published import Generation
from redis import Redis
from test_commands import hourfeed

from slates.bucket import bucket_of
from slates.last_run import LastRun

OLD = Generation("old", hours=2, users={"7": {0: "1 2", 1: "1 2"}}, manifest={"state": "superseded"})
LIVE = Generation("new", hours=2, users={"7": {0: "2 3", 1: "4 5"}}, manifest={"seq": 2, "previous": "old"})
BLOCKED = Generation("kept", hours=2, users={"7": {0: "9", 1: "4 5"}}, manifest={"seq": 3, "state": "blocked"})


@pytest.fixture
def env(redis_url: str, redis_client: Redis) -> dict[str, str]:
    OLD.publish(redis_client)
    LIVE.publish(redis_client)
    BLOCKED.publish(redis_client, live=False)
    return {"REDIS_URL": redis_url}


def test_diff_compares_the_live_generation_with_the_one_before(env: dict[str, str], tmp_path: Path) -> None:
    done = hourfeed("diff", "--html", "page.html", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("old → new: 1 users, 2 hours in both")
    assert ["2021-12-20T00", "50.0%", "0.0%"] in [line.split() for line in done.stdout.splitlines()]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>From old to new</title>" in page
    assert page.count("<figure>") == 3
    assert 'class="dot"' in page

    told = json.loads(hourfeed("diff", "--json", folder=tmp_path, env=env).stdout)
    assert (told["before"], told["after"], told["overlap"], told["churn"]) == ("old", "new", 0.25, 0.5)
    assert told["risen"][0] == {"post_id": "3", "before": 0.0, "after": 0.5}


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        (["kept"], ("new", "kept")),
        (["old"], ("old", "new")),
        (["new", "old"], ("new", "old")),
    ],
)
def test_diff_takes_the_generations_that_it_is_given(
    env: dict[str, str], tmp_path: Path, given: list[str], pair: tuple[str, str]
) -> None:
    told = json.loads(hourfeed("diff", *given, "--json", "--users", "1", folder=tmp_path, env=env).stdout)
    assert (told["before"], told["after"]) == pair


def test_diff_says_which_generation_is_not_there(env: dict[str, str], redis_client: Redis, tmp_path: Path) -> None:
    done = hourfeed("diff", "nonsense", folder=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Redis holds no generation 'nonsense'; `hourfeed status` lists")
    redis_client.delete("hourfeed:current")
    done = hourfeed("diff", folder=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no generation is live to compare with" in done.stderr


def test_release_makes_a_blocked_generation_live(env: dict[str, str], redis_client: Redis, tmp_path: Path) -> None:
    refused = hourfeed("release", "old", folder=tmp_path, env=env)
    assert refused.returncode == 1
    assert "Redis holds these: kept" in refused.stderr
    done = hourfeed("release", "kept", folder=tmp_path, env=env)
    assert done.stdout.startswith("generation kept is live")
    assert redis_client.get("hourfeed:current") == b"kept"


def check(folder: Path, env: dict[str, str], *more: str) -> tuple[int, str]:
    done = hourfeed("status", "--check", *more, folder=folder, env=env)
    assert done.stderr == ""
    return done.returncode, done.stdout


def live_since(redis: Redis, hours: float) -> None:
    as_of = datetime.now(UTC) - timedelta(hours=hours)
    replace(LIVE, first=bucket_of(as_of), hours=24, users={}, manifest={"as_of": as_of, "seq": 9}).publish(redis)


def test_check_is_0_while_fresh_and_1_beyond_the_objective(
    env: dict[str, str], redis_client: Redis, tmp_path: Path
) -> None:
    live_since(redis_client, 3.0)
    status, line = check(tmp_path, env)
    assert status == 0
    assert line.startswith("OK: the live generation is 3.0 hours old, of 26 at most; it has 2")
    status, line = check(tmp_path, {**env, "HOURFEED_FRESH_FOR_H": "2"})
    assert status == 1
    assert line == "STALE: the live generation is 3.0 hours old, over 2; generation new\n"
    status, line = check(tmp_path, env, "--least-hours", "23")
    assert status == 1
    assert line.startswith("STALE: it has 2")
    live_since(redis_client, 23.9)
    assert check(tmp_path, env)[0] == 1
    told = json.loads(check(tmp_path, env, "--json", "--least-hours", "0")[1])
    assert (told["fresh"], told["live"]["id"], told["live"]["seq"]) == (True, "new", 9)
    assert told["freshness"]["objective_s"] == 26 * 3600


def test_check_is_1_after_so_many_failures_in_a_row(env: dict[str, str], redis_client: Redis, tmp_path: Path) -> None:
    live_since(redis_client, 0.5)
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    run = LastRun("refresh", "failed", "worker-1", 7, at, at, at, "read", "the table is gone", failures=2)
    redis_client.hset("hourfeed:last_run", items=[part for pair in run.to_hash().items() for part in pair])
    assert check(tmp_path, env)[0] == 0
    status, line = check(tmp_path, env, "--failures", "2")
    assert status == 1
    assert line.startswith("STALE: 2 runs in a row have failed, the last one: refresh of 2026-03-01T12:00:00Z on")
    assert "the table is gone; generation new" in line


def test_check_is_1_where_nothing_is_live_and_2_where_it_cannot_tell(
    env: dict[str, str], redis_client: Redis, tmp_path: Path
) -> None:
    status, line = check(tmp_path, env)
    assert status == 1
    assert line.endswith("; generation new; blocked by the guards: kept\n")
    redis_client.delete("hourfeed:current")
    status, line = check(tmp_path, env)
    assert (status, line[:38]) == (1, "STALE: no generation is live; publish ")
    status, line = check(tmp_path, {"REDIS_URL": "redis://127.0.0.1:1"})
    assert status == 2
    assert line.startswith("UNKNOWN: Redis does not answer")
    redis_client.set("hourfeed:current", "new")
    redis_client.delete("hourfeed:gen:new")
    redis_client.hset("hourfeed:gen:new", "id", "new")
    status, line = check(tmp_path, env)
    assert status == 2
    assert line.startswith("UNKNOWN: generation new: the manifest lacks")


def test_status_tells_of_guards_objective_and_what_is_blocked(
    env: dict[str, str], redis_client: Redis, tmp_path: Path
) -> None:
    redis_client.hset("hourfeed:gen:new", "guards", '{"whole":1.0,"overlap":0.5,"against":"old"}')
    said = hourfeed("status", folder=tmp_path, env=env).stdout
    assert "guards       whole 1.000, overlap 0.500 against old\n" in said
    assert "objective    stale: up to 26 hours old; 0.0 hours are left\n" in said
    assert "blocked      kept\n" in said
