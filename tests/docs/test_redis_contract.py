"""docs/redis.md is the contract: its bytes are compared with what the code makes, and with what a run leaves."""

import json
import math
import re
import string
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args
from unittest.mock import patch

import pytest
from fakeredis import FakeRedis
from fences import ROOT, columns, golden, shown_fields, shown_manifest, table_column
from redis import Redis
from shell import REDIS_CLI

from batch.pipeline import run_batch
from batch.settings import BatchSettings
from slates import packed
from slates.bucket import bucket_of
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, decode_slate, encode_slate
from slates.feed import Rung
from slates.generations import live_generation, rollback
from slates.keys import Keys, escape_id, unescape_id
from slates.lock import RunLock
from slates.lookup import Lookup
from slates.manifest import Manifest
from slates.resp import read_commands
from slates.view import View
from slates.writer import GenerationWriter
from source.engine import open_engine
from source.load import load_folder

PAGE = ROOT / "docs/redis.md"
G = "20211220T150000-7"
AS_OF = datetime(2021, 12, 20, 15, tzinfo=UTC)


class Silent:
    def stage(self, name: str, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


def publish_example(redis: Redis, folder: Path, as_of: datetime, **changed: Any) -> Manifest:
    """Do what the page's two commands do."""
    for name in ("users.csv", "posts.csv", "events.csv"):
        (folder / name).write_text(golden(PAGE, name), encoding="utf-8")
    settings = BatchSettings(state=folder / "state", ranker="popular_24h", hours=2, top_n=3, **changed)
    engine = open_engine(None, settings.state)
    try:
        load_folder(folder, engine, settings.source, settings.actions, settings.state / "quarantine")
        return run_batch(settings, engine, redis, as_of, Silent())
    finally:
        engine.dispose()


def all_values(redis: Redis) -> Iterator[tuple[str, ...]]:
    """Give (key, value), or (key, field, value), of all that Redis holds but the manifest."""
    for key in sorted(found.decode() for found in redis.scan_iter()):
        match cast("bytes", redis.type(key)):
            case b"string":
                yield key, cast("bytes", redis.get(key)).decode()
            case b"zset":
                yield from ((key, member.decode()) for member in cast("list[bytes]", redis.zrange(key, 0, -1)))
            case b"set":
                yield from ((key, member.decode()) for member in cast("set[bytes]", redis.smembers(key)))
            case _ if key != Keys().generation("20211220T150000-1"):
                fields = cast("dict[bytes, bytes]", redis.hgetall(key))
                yield from ((key, name.decode(), value.decode()) for name, value in fields.items())


def test_the_page_names_every_key_as_the_code_does() -> None:
    named = set()
    for call, key in columns(golden(PAGE, "keys")):
        found = re.fullmatch(r"(\w+)(?:\((.*)\))?", call)
        assert found
        name, arguments = found[1], json.loads(f"[{found[2] or ''}]".replace("G", json.dumps(G)))
        made = getattr(Keys(), name)
        assert (made(*arguments) if arguments else made) == key
        if name in {"user", "segment", "post", "similar", "seen", "event"}:
            assert unescape_id(key.rpartition(":")[2]) == arguments[-1]
        named.add(name)
    assert named == {name for name in vars(Keys) if not name.startswith("_")} - {"prefix", "tagged", "arm"}


def test_the_page_lists_every_key_in_its_table() -> None:
    listed = {
        re.sub(r"\{(user|post|name|caller|event)\}", "x", key).replace("{g}", "g").replace("{window}", "1")
        for cell in table_column(PAGE, "Keys")
        for key in re.split("`, `", cell)
    }
    keys = Keys()
    singles = {keys.current, keys.generations, keys.lock, keys.seq, keys.post("x"), keys.seen("x")}
    singles |= {keys.blocked, keys.blocked_mark, keys.events, keys.event("x"), keys.erased, keys.last_run}
    of_arm = Keys(arm="{arm}")
    singles |= {
        keys.experiment,
        keys.experiments,
        keys.arms,
        keys.exposures,
        of_arm.current,
        of_arm.generations,
        of_arm.last_run,
    }
    assert listed == singles | {
        keys.rate("x", 1),
        keys.session("x"),
        keys.generation("g"),
        keys.user("g", "x"),
        keys.segment("g", "x"),
        keys.popular("g"),
        keys.posts("g"),
        keys.similar("g", "x"),
        keys.shards("g"),
    }


def test_the_page_lists_the_fields_of_a_users_hash_that_are_no_buckets() -> None:
    assert table_column(PAGE, "A user's hash") == ["{bucket}", SEGMENT_FIELD, ACTED_FIELD]


def test_the_page_tells_readers_to_ask_for_what_the_server_asks_for() -> None:
    page = PAGE.read_text(encoding="utf-8")
    (asked,) = re.findall(r"`HMGET hourfeed:gen:\{g\}:user:\{user\} ([^`]*)`", page)
    (seen,) = re.findall(r"`ZRANGE hourfeed:seen:\{user\} ([^`]*)`", page)
    lookup = Lookup(FakeRedis(), Keys())
    lookup._view = View(shown_manifest(), {}, None)
    with patch("slates.wire.Wire.ask", return_value=[[G.encode(), None, None], [b"1", None, None], []]) as send:
        lookup.feed("201", shown_manifest().first_bucket, 1)
    (batch,), _ = send.call_args
    sent = [command for _, commands, _ in batch for command in read_commands(commands)]
    assert sent == [
        [b"MGET", b"hourfeed:current", b"hourfeed:blocked:mark", b"hourfeed:experiment"],
        [b"HMGET", Keys().user(G, "201").encode(), b"2021122015", *asked.encode().split()[1:]],
        [b"ZRANGE", Keys().seen("201").encode(), *seen.encode().split()],
    ]


def test_the_page_shows_slates_as_the_codec_writes_and_reads_them() -> None:
    rows = columns(golden(PAGE, "slates"))
    assert len(rows) == 4
    for ids, value in rows:
        assert encode_slate(json.loads(ids)) == value.encode("ascii")
        assert decode_slate(value.encode("ascii")) == json.loads(ids)
    assert encode_slate([]) == b""
    assert decode_slate(b"") == []


def test_the_page_shows_packed_slates_as_the_codec_writes_and_reads_them() -> None:
    shown = dict(line.split(maxsplit=1) for line in golden(PAGE, "packed").splitlines())
    posts, acted = shown["posts"].split(), shown["acted"].split()
    slates = [slate.split() for slate in re.split(r" {2,}", shown["slates"])]
    layout = packed.Layout(hours=2, top_n=3, n_posts=3)
    numbers = [[posts.index(post) for post in slate] for slate in slates]
    value = bytes.fromhex(shown["string"])
    assert layout.pack(numbers, [posts.index(post) for post in acted], shown["segment"]) == value
    for place, slate in enumerate(slates):
        assert layout.unpack(value, place, posts) == (slate, acted, shown["segment"])


@pytest.mark.parametrize("hour", [15, 16])
def test_a_packed_run_answers_what_a_run_of_ids_answers(redis_client: Redis, tmp_path: Path, hour: int) -> None:
    bucket = bucket_of(AS_OF.replace(hour=hour))

    def feeds(generation: str) -> list[tuple[Any, ...]]:
        rollback(redis_client, Keys(), generation)
        lookup = Lookup(redis_client, Keys())
        found = [lookup.feed(user_id, bucket, 4) for user_id in ("201", "202", "203", "204", "999")]
        return [(feed.post_ids, feed.rung, feed.slate) for feed in found]

    readable = publish_example(redis_client, tmp_path, AS_OF)
    compact = publish_example(redis_client, tmp_path, AS_OF, codec="packed")
    assert (readable.codec, compact.codec) == ("ids", "packed")
    assert redis_client.get(Keys().posts(compact.id)) == b"2 1 3 4"
    assert redis_client.type(Keys().user(compact.id, "201")) == b"string"
    assert 72 * 3600 - 30 <= redis_client.ttl(Keys().user(compact.id, "201")) <= 72 * 3600 * 1.1 + 1
    assert feeds(compact.id) == feeds(readable.id) == feeds(compact.id)


def test_the_page_lists_the_characters_that_are_not_escaped() -> None:
    plain = set(golden(PAGE, "plain").rstrip("\n")) | set(string.ascii_letters + string.digits)
    assert {chr(code) for code in range(128) if escape_id(chr(code)) == chr(code)} == plain
    assert escape_id("\u00e9") == "%C3%A9"


def test_the_page_shows_a_manifest_as_the_code_writes_and_reads_it() -> None:
    shown, manifest = shown_fields(), shown_manifest()
    assert manifest.to_hash() == shown
    assert (manifest.first_bucket, manifest.hours) == (455_559, 24)  # 18,981 days of 24 hours since 1970, and 15
    assert manifest.as_of == AS_OF
    assert table_column(PAGE, "The manifest") == list(shown)


def test_a_run_leaves_in_redis_what_the_page_shows(redis_client: Redis, tmp_path: Path) -> None:
    publish_example(redis_client, tmp_path, AS_OF)
    shown = [(*line, "") if len(line) == 1 else tuple(line) for line in columns(golden(PAGE, "run"))]
    assert sorted(all_values(redis_client)) == sorted(shown)
    assert live_generation(redis_client, Keys()) is not None


def test_a_run_gives_every_key_the_ttl_of_the_page(redis_client: Redis, tmp_path: Path) -> None:
    publish_example(redis_client, tmp_path, AS_OF)
    by_hand = math.ceil(72 * 3600 * (1 + 0.1 * zlib.crc32(b"hourfeed:post:1") / 2**32))
    assert by_hand - 30 <= redis_client.ttl("hourfeed:post:1") <= by_hand
    without = {key.decode() for key in redis_client.scan_iter() if redis_client.ttl(key) == -1}
    assert without == {"hourfeed:current", "hourfeed:generations", "hourfeed:seq"}
    for key in redis_client.scan_iter("hourfeed:gen:*"):
        assert 72 * 3600 - 30 <= redis_client.ttl(key) <= 72 * 3600 * 1.1 + 1


def test_the_lock_lives_thirty_seconds_and_says_who_holds_it(redis_client: Redis) -> None:
    with RunLock(redis_client, Keys()):
        assert 29_000 <= redis_client.pttl("hourfeed:lock") <= 30_000
        assert json.loads(cast("bytes", redis_client.get("hourfeed:lock"))).keys() == {"host", "pid", "token"}


def test_states_of_the_page_follow_each_other(redis_client: Redis, tmp_path: Path) -> None:
    first, second = (publish_example(redis_client, tmp_path, AS_OF) for _ in range(2))

    def states() -> list[bytes | None]:
        return [cast("bytes | None", redis_client.hget(Keys().generation(m.id), "state")) for m in (first, second)]

    assert states() == [b"superseded", b"live"]
    rollback(redis_client, Keys())
    assert states() == [b"live", b"rolled_back"]
    rollback(redis_client, Keys(), second.id)
    assert states() == [b"rolled_back", b"live"]


def test_the_next_run_unlinks_what_a_killed_one_left(redis_client: Redis, tmp_path: Path) -> None:
    shown = {line[:16].strip(): line[16:] for line in golden(PAGE, "manifest").splitlines()} | {
        "state": "writing",
        "seq": "1",
    }
    manifest = Manifest.from_hash({name.encode(): value.encode() for name, value in shown.items()})
    with RunLock(redis_client, Keys()) as lock:
        writer = GenerationWriter(redis_client, Keys(), lock, manifest, ttl_s=60)
        writer.begin()
        writer.write_shard(0, [(Keys().user(G, "201"), {"2021-12-20T15": "1"})])
    assert redis_client.exists(Keys().user(G, "201"), Keys().shards(G), Keys().generation(G)) == 3
    publish_example(redis_client, tmp_path, AS_OF)
    assert [key for key in redis_client.scan_iter() if G in key.decode()] == []
    assert redis_client.zrange(Keys().generations, 0, -1) == [b"20211220T150000-2"]


def test_the_page_names_every_rung() -> None:
    text = PAGE.read_text(encoding="utf-8").split("X-Hourfeed-Rung", 1)[1]
    assert tuple(re.findall(r"`(\w+)`", text)[: len(get_args(Rung))]) == get_args(Rung)


@pytest.fixture
def shell(redis_url: str, tmp_path: Path) -> Any:
    """Return a function that runs shell lines one after the other and returns what each of them printed."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/redis-cli"
    program.write_text(REDIS_CLI.format(python=sys.executable))
    program.chmod(0o755)

    def run(lines: list[str]) -> list[list[str]]:
        script = "set -e\n" + "".join(f"{line}\necho ----\n" for line in lines)
        path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        env = {"PATH": path, "REDIS_CLI_URL": redis_url}
        done = subprocess.run(["/bin/sh"], input=script, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [part.strip("\n").split("\n") for part in done.stdout.split("----\n")[:-1]]

    return run


def test_every_redis_cli_line_of_the_page_answers(
    redis_client: Redis, redis_url: str, tmp_path: Path, shell: Any
) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    live = publish_example(redis_client, tmp_path, began)
    lines = golden(PAGE, "redis-cli").splitlines()
    commented = [line.rsplit("#", 1) for line in lines]
    answers = {comment.strip(): said for (_, comment), said in zip(commented, shell(lines), strict=True)}
    key = Keys().user(live.id, "201")

    assert answers["what is live, and as of when"] == [
        "live",
        f"{began:%Y-%m-%dT%H:%M:%SZ}",
        *_built(live),
        "popular_24h",
    ]
    (age_s,) = answers["seconds since its run began to publish"]
    assert 0 <= int(age_s) <= (datetime.now(UTC) - began).total_seconds() + 1
    assert answers["how much it holds"] == ["4", "4", str(live.slate_bytes)]
    assert json.loads(answers["seconds by stage, in JSON"][0]) == dict(live.seconds)
    assert answers["a user's slate now"][0].split() in (["2", "3", "4"], ["3", "2", "4"])
    assert len(answers["all that is there for the user"]) == 8  # two buckets, segment and acted, names and values
    assert len(answers["what strangers get"]) == 4
    assert answers["a post's text"] == ["The bill has passed"]
    assert answers["bytes that the user's slates take"] == [str(redis_client.memory_usage(key, samples=0))]
    assert answers["hashtable is wasteful: see deploy/redis.conf"] == ["listpack"]
    assert answers["generations, newest first, and when their runs began"][0] == live.id
    assert 0 < int(answers["seconds until the live generation ends"][0]) <= 72 * 3600 * 1.1 + 1
    assert 0 < int(answers["seconds until the user's slates end"][0]) <= 72 * 3600 * 1.1 + 1
    assert answers["who runs a batch now; nothing: nobody does"] == [""]
    assert "1024" in answers["below a slate's bytes, slates are stored wastefully"]
    assert answers["what Redis takes as a whole"][0].startswith("used_memory_human:")


def _built(manifest: Manifest) -> list[str]:
    return [manifest.to_hash()["built_at"]]


def test_the_redis_cli_lines_only_read() -> None:
    words = re.findall(r"redis-cli (\w+(?: USAGE| ENCODING| GET)?)", golden(PAGE, "redis-cli"))
    assert len(words) >= 17
    reading = {"GET", "HGET", "HMGET", "HGETALL", "ZSCORE", "ZREVRANGE", "TTL", "MEMORY USAGE", "OBJECT ENCODING"}
    assert set(words) - reading == {"CONFIG GET", "INFO"}
