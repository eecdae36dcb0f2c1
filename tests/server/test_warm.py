import hashlib
import json
import logging
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from published import Generation, put_posts

from server.app import LOOKUP, WARM, create_app
from server.settings import ServerSettings
from server.warm import GOOD_FOR_S, WarmFile, WarmKeeper, origin_of
from slates.blocked import block, unblock
from slates.keys import Keys
from slates.lookup import Lookup

QUERY = "/post/recommendations/?id=7&time=2021-12-20T12&limit=3"
AS_OF = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
TUESDAY = Generation(
    id="tuesday",
    users={"7": {12: "1 2 3"}},
    popular={11: "7", 12: "5 6 a:b"},
    manifest={"as_of": AS_OF, "post_id_type": "string"},
)


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


def settings(folder: Path, **given: Any) -> ServerSettings:
    return ServerSettings(state=folder, **({"warm_file": "warm.json"} | given))


def keep(redis: FakeRedis, folder: Path) -> None:
    """Keep what is live, as the thread of a worker does."""
    app = create_app(settings(folder), redis)
    look(app.extensions[LOOKUP], app.extensions[WARM])


def look(lookup: Lookup, keeper: WarmKeeper) -> None:
    view = lookup.watch()
    assert view is not None
    keeper.keep(view)


@pytest.fixture
def kept(redis: FakeRedis, server: FakeServer, tmp_path: Path) -> Path:
    """A folder in which the posts of a server are kept that is gone, and Redis with it."""
    put_posts(redis, ["1", "2", "3", "5", "6", "7", "a:b"])
    TUESDAY.publish(redis)
    keep(redis, tmp_path)
    server.connected = False
    return tmp_path


def test_a_start_while_redis_is_away_answers_popular_posts_and_says_so(redis: FakeRedis, kept: Path) -> None:
    client = create_app(settings(kept), redis).test_client()
    answer = client.get(QUERY)
    assert answer.status_code == 200
    assert answer.json == [{"id": i, "text": f"text of {i}", "topic": f"topic of {i}"} for i in ("5", "6", "a:b")]
    assert (answer.headers["X-Hourfeed-Rung"], answer.headers["X-Hourfeed-Generation"]) == ("disk", "tuesday")
    age_s = (datetime.now(UTC) - AS_OF).total_seconds()
    assert age_s - 30 <= int(answer.headers["X-Hourfeed-Age"]) <= age_s
    ready = client.get("/readyz")
    assert (ready.status_code, (ready.json or {})["status"]) == (503, "degraded")
    assert (ready.json or {})["reason"] == "Redis is away; everybody gets popular posts, from disk"
    assert client.get("/readyz?degraded=ok").status_code == 200
    more = client.get("/v1/popular?at=2021-12-20T11&limit=1").json or {}
    assert ([item["id"] for item in more["items"]], more["meta"]["rung"]) == (["7"], "disk")
    assert client.get("/v1/posts/5/similar").status_code == 503


def test_redis_is_asked_again_when_it_is_back(redis: FakeRedis, server: FakeServer, kept: Path) -> None:
    app = create_app(settings(kept), redis)
    client = app.test_client()
    assert client.get(QUERY).headers["X-Hourfeed-Rung"] == "disk"
    server.connected = True
    app.extensions[LOOKUP].watch()
    assert client.get(QUERY).headers["X-Hourfeed-Rung"] == "exact"
    server.connected = False
    assert client.get(QUERY).headers["X-Hourfeed-Rung"] == "memory"


def test_posts_that_were_taken_down_stay_down_without_redis(redis: FakeRedis, server: FakeServer, kept: Path) -> None:
    server.connected = True
    folder = kept / "own"
    app = create_app(settings(folder), redis)
    lookup, keeper = app.extensions[LOOKUP], app.extensions[WARM]
    look(lookup, keeper)
    block(redis, Keys(), ["5", "a:b"])
    look(lookup, keeper)
    server.connected = False
    client = create_app(settings(folder), redis).test_client()
    assert [post["id"] for post in client.get(QUERY).json or ()] == ["6", "7"]
    server.connected = True
    unblock(redis, Keys(), ["5"])
    look(lookup, keeper)
    server.connected = False
    client = create_app(settings(folder), redis).test_client()
    assert [post["id"] for post in client.get(QUERY).json or ()] == ["5", "6", "7"]


def test_an_empty_redis_is_answered_from_disk_too(redis: FakeRedis, server: FakeServer, kept: Path) -> None:
    server.connected = True
    redis.flushall()
    answer = create_app(settings(kept), redis).test_client().get(QUERY)
    assert (answer.status_code, answer.headers["X-Hourfeed-Rung"]) == (200, "disk")


def test_the_file_is_private_and_holds_no_user_and_no_password(kept: Path) -> None:
    path = kept / "warm.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_bytes().partition(b"\n")[2])
    assert told["origin"] == "127.0.0.1:6379/0 hourfeed"
    assert "1 2 3" not in path.read_text()
    assert origin_of("redis+sentinel://:secret@a:1,b:2/main?sentinel_password=secret", "p") == "a:1,b:2/main p"
    assert origin_of("unix:///run/redis.sock?password=secret", "p") == "/run/redis.sock p"
    assert origin_of("rediss://me:secret@redis.example.org:6380/3", "p") == "redis.example.org:6380/3 p"


@pytest.mark.parametrize("warm_file", ["", "other.json"])
def test_without_the_file_there_is_nothing_to_answer(warm_file: str, redis: FakeRedis, kept: Path) -> None:
    client = create_app(settings(kept, warm_file=warm_file), redis).test_client()
    assert client.get(QUERY).status_code == 503


@pytest.mark.parametrize("given", [{"prefix": "other"}, {"redis_url": "redis://127.0.0.1:6379/1"}])
def test_a_file_of_another_redis_or_prefix_is_passed_over(
    given: dict[str, str], redis: FakeRedis, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = create_app(settings(kept, **given), redis).test_client()
    assert client.get(QUERY).status_code == 503
    assert "warm.json is passed over: it is of '127.0.0.1:6379/0 hourfeed', format 1" in caplog.text


def test_a_file_that_is_damaged_anywhere_is_passed_over(
    redis: FakeRedis, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept / "warm.json"
    whole = path.read_bytes()
    file = WarmFile(path, "127.0.0.1:6379/0 hourfeed")
    assert file.read() is not None
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert file.read() is None
        path.write_bytes(whole[:place])
        assert file.read() is None
    assert "warm.json is damaged, and passed over" in caplog.text
    assert create_app(settings(kept), redis).test_client().get(QUERY).status_code == 503


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"7", b'{"format":1}', b"[" * 100_000, b'{"format":1,"origin":"o","seen_at":"x"}']
)
def test_a_file_of_something_else_is_passed_over_though_its_digest_fits(
    body: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "warm.json"
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert WarmFile(path, "o").read() is None
    assert "warm.json is passed over: " in caplog.text


def test_a_file_that_redis_has_not_been_seen_for_days_is_passed_over(
    kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen_at = json.loads((kept / "warm.json").read_bytes().partition(b"\n")[2])["seen_at"]
    origin = "127.0.0.1:6379/0 hourfeed"
    assert WarmFile(kept / "warm.json", origin, lambda: seen_at + GOOD_FOR_S).read() is not None
    assert WarmFile(kept / "warm.json", origin, lambda: seen_at + GOOD_FOR_S + 1).read() is None
    assert "warm.json is passed over: it is 72 hours old" in caplog.text


def test_it_is_written_when_something_changes_and_not_else(redis: FakeRedis, tmp_path: Path) -> None:
    put_posts(redis, ["5", "6", "7"])
    TUESDAY.publish(redis)
    app = create_app(settings(tmp_path), redis)
    lookup, keeper = app.extensions[LOOKUP], app.extensions[WARM]
    look(lookup, keeper)
    first = (tmp_path / "warm.json").stat().st_ino
    look(lookup, keeper)
    assert (tmp_path / "warm.json").stat().st_ino == first
    Generation(id="wednesday", popular={12: "6"}).publish(redis)
    look(lookup, keeper)
    assert b"wednesday" in (tmp_path / "warm.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["warm.json", "warm.json.lock"]


def test_one_process_writes_and_another_takes_over(redis: FakeRedis, tmp_path: Path) -> None:
    TUESDAY.publish(redis)
    writer = WarmFile(tmp_path / "warm.json", "o")
    assert writer.is_ours()
    assert writer.is_ours()
    keep(redis, tmp_path)
    assert not (tmp_path / "warm.json").exists()
    lock = writer._lock
    assert lock is not None
    os.close(lock)  # as the end of a process does
    keep(redis, tmp_path)
    assert (tmp_path / "warm.json").exists()


def test_a_folder_that_cannot_be_written_to_is_a_line_in_the_log(
    redis: FakeRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    TUESDAY.publish(redis)
    (tmp_path / "file").write_text("")
    keep(redis, tmp_path / "file" / "state")
    assert "popular posts are not kept on disk, for a start while Redis is away: " in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_posts_beyond_the_bound_are_left_out(
    redis: FakeRedis, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.warm._MOST_BYTES", 2_000)
    put_posts(redis, ["5", "6", "7"])
    TUESDAY.publish(redis)
    redis.hset(Keys().post("6"), "text", "x" * 600)
    keep(redis, tmp_path)
    assert (tmp_path / "warm.json").stat().st_size < 4_000
    server.connected = False
    client = create_app(settings(tmp_path), redis).test_client()
    assert [post["id"] for post in client.get(QUERY).json or ()] == ["5", "7"]
