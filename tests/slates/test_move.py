"""A generation leaves one Redis by a file and comes into another: here, under another prefix of a real one."""

import re
import signal
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publishing import BUCKETS, KEYS, LASTING, USERS, keys_without_ttl, manifest_of, publish, states, write
from redis import Redis

from slates.blocked import block, read_blocked
from slates.client import connect
from slates.codec import encode_slate
from slates.entry import string_entry
from slates.erase import erase_user
from slates.errors import ArchiveError, NoGenerationError, SlatesError, StaleRunError
from slates.export import export_generation
from slates.generations import GenerationWriter, live_generation, rollback
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest
from slates.packed import Layout
from slates.restore import Archive, Target, import_generation

OTHER = Keys("other")
ROOT = Path(__file__).parents[2]


class Told:
    """Hears of stages and notes; a test may let something happen at the first stage."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int | None]] = []
        self.happening: Any = None

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.stages.append((name, done, total))
        if self.happening is not None:
            happening, self.happening = self.happening, None
            happening()

    def note(self, text: str) -> None:
        self.stages.append((text, 0, None))


def export(redis: Redis, path: Path, generation: str | None = None, told: Told | None = None, **options: bool) -> Any:
    return export_generation(redis, KEYS, path, told or Told(), generation, **options)


def bring_in(redis: Redis, path: Path, keys: Keys = OTHER, told: Told | None = None, **options: Any) -> Manifest:
    target = Target(redis, keys, options.pop("ttl_s", 3600), keep=3)
    return import_generation(target, Archive.check(path), told or Told(), **options)


def held(redis: Redis, prefix: str, generation: str) -> dict[str, Any]:
    """All that lies in Redis of a generation, but for its shards, and all posts, by names without prefix and id."""
    read: dict[bytes, Any] = {b"string": redis.get, b"hash": redis.hgetall}
    keys = sorted(key.decode() for key in redis.scan_iter(match=f"{prefix}:*"))
    return {
        key.removeprefix(f"{prefix}:").replace(generation, "G"): read[cast("bytes", redis.type(key))](key)
        for key in keys
        if (f":gen:{generation}:" in key and not key.endswith(":shards")) or ":post:" in key
    }


def publish_packed(redis: Redis) -> Manifest:
    with RunLock(redis, KEYS) as lock:
        manifest = manifest_of(lock.seq, codec="packed", posts=20)
        writer = GenerationWriter(redis, KEYS, lock, manifest, ttl_s=3600, batch=7)
        writer.begin()
        writer.write_posts([(KEYS.post(f"p{number}"), {"text": f"{number}", "topic": "o"}) for number in range(9)])
        shared = dict.fromkeys(BUCKETS, "p1 p2")
        writer.write_shared([(KEYS.popular(manifest.id), shared), (KEYS.segment(manifest.id, "s"), shared)])
        writer.write_strings([(KEYS.similar(manifest.id, "p1"), b"p2 p3"), (KEYS.similar(manifest.id, "p2"), b"")])
        writer.write_list_of_posts([f"p{number}" for number in range(20)])
        layout = Layout.of(manifest)
        values = [
            (KEYS.user(manifest.id, user), layout.pack([[place], [19 - place]], [], "s"))
            for place, user in enumerate(USERS)
        ]
        writer.write_shard(0, [string_entry(key, value, 3600) for key, value in values])
        return writer.flip(manifest)


@pytest.mark.parametrize("codec", ["ids", "packed"])
def test_a_generation_arrives_byte_for_byte(codec: str, redis_client: Redis, tmp_path: Path) -> None:
    there = publish(redis_client) if codec == "ids" else publish_packed(redis_client)
    told, file = Told(), tmp_path / "exported"
    summary = export(redis_client, file, told=told)
    here = bring_in(redis_client, file, told=told)
    after = held(redis_client, "other", here.id)
    assert {name for name in after if ":user:" in name} == {f"gen:G:user:{user}" for user in USERS}
    wanted = held(redis_client, "hourfeed", there.id)
    if codec == "ids":
        del wanted["post:p"]  # no slate names it
    assert after == wanted
    own: dict[str, Any] = {"id": there.id, "seq": there.seq, "started_at": there.started_at, "built_at": there.built_at}
    assert replace(here, shards=there.shards, **own) == there
    assert live_generation(redis_client, OTHER) == here
    assert (here.seq, here.id[:15], here.previous) == (1, there.id[:15], "")
    assert keys_without_ttl(redis_client) == LASTING | {key.replace("hourfeed", "other") for key in LASTING}
    assert told.stages == [("export", 10, 10), ("import", 10, 10)]
    assert summary.digest == Archive.check(file).summary.digest


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANY_ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.integers(
    -(2**63), 2**63 - 1
).map(str)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    codec=st.sampled_from(["ids", "packed"]),
    segment=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
def test_ids_of_any_kind_come_back_as_they_were(
    redis_client: Redis, tmp_path: Path, data: st.DataObject, codec: str, segment: str
) -> None:
    redis_client.flushall()
    users = data.draw(st.lists(ANY_ID, unique=True, max_size=4))
    posts = data.draw(st.lists(ANY_ID, unique=True, min_size=1, max_size=5))
    slates = st.lists(st.sampled_from(range(len(posts))), unique=True, max_size=2)
    with RunLock(redis_client, KEYS) as lock:
        manifest = manifest_of(lock.seq, codec=codec, posts=len(posts), users=len(users), segments=1)
        writer = GenerationWriter(redis_client, KEYS, lock, manifest, ttl_s=3600)
        writer.begin()
        layout = Layout.of(manifest)
        for user in users:
            drawn, key = [data.draw(slates), data.draw(slates)], KEYS.user(manifest.id, user)
            if codec == "packed":
                writer.write_shard(0, [string_entry(key, layout.pack(drawn, drawn[0], segment), 3600)])
            else:
                fields = {b: encode_slate(posts[p] for p in slate) for b, slate in zip(BUCKETS, drawn, strict=True)}
                writer.write_shard(0, [(key, {**fields, "segment": segment, "acted": fields[BUCKETS[0]]})])
        shared = dict.fromkeys(BUCKETS, encode_slate(posts))
        rows = [(KEYS.popular(manifest.id), shared)] + (
            [(KEYS.segment(manifest.id, segment), shared)] if segment else []
        )
        writer.write_shared(rows)
        if codec == "packed":
            writer.write_list_of_posts(posts)
        writer.write_strings([(KEYS.similar(manifest.id, post), encode_slate(posts[:1])) for post in posts])
        writer.write_posts([(KEYS.post(post), {"text": post, "topic": segment}) for post in posts])
        there = writer.flip(manifest)
    export(redis_client, tmp_path / "exported")
    here = bring_in(redis_client, tmp_path / "exported")
    assert held(redis_client, "other", here.id) == held(redis_client, "hourfeed", there.id)


def test_the_file_is_the_same_whatever_became_of_the_generation(redis_client: Redis, tmp_path: Path) -> None:
    first = publish(redis_client)
    export(redis_client, tmp_path / "live")
    publish(redis_client)
    redis_client.config_set("hash-max-listpack-value", 1)
    for user in USERS:  # now in a table, which has no order
        fields = redis_client.hgetall(KEYS.user(first.id, user))
        redis_client.delete(KEYS.user(first.id, user))
        redis_client.hset(KEYS.user(first.id, user), mapping=cast("Any", fields))
    redis_client.config_set("hash-max-listpack-value", 1024)
    export(redis_client, tmp_path / "superseded", first.id)
    assert (tmp_path / "live").read_bytes() == (tmp_path / "superseded").read_bytes()
    assert stat.S_IMODE((tmp_path / "live").stat().st_mode) == 0o600
    export(redis_client, tmp_path / "live")  # the newer one, in its place
    assert Archive.check(tmp_path / "live").summary.manifest.seq == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live", "superseded"]


def test_an_export_that_fails_leaves_no_file_and_the_one_before(redis_client: Redis, tmp_path: Path) -> None:
    file = tmp_path / "exported"
    file.write_text("kept")
    with pytest.raises(NoGenerationError, match="no generation is live"):
        export(redis_client, file)
    live = publish(redis_client)
    with pytest.raises(NoGenerationError, match="generation g is not there whole"):
        export(redis_client, file, "g")
    told = Told()
    told.happening = lambda: redis_client.delete(KEYS.generation(live.id))
    with pytest.raises(NoGenerationError, match=f"{live.id} went away while it was exported"):
        export(redis_client, file, told=told)
    live = publish(redis_client)
    redis_client.hset(KEYS.user(live.id, "u3"), BUCKETS[0], "a\nb")
    with pytest.raises(ArchiveError, match=r"^user 'u3': b'a\\nb' is not a slate"):
        export(redis_client, file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_a_user_that_may_not_list_keys_is_told_so(redis_url: str, redis_client: Redis, tmp_path: Path) -> None:
    publish(redis_client)
    rules = {"enabled": True, "passwords": ["+p"], "keys": ["*"], "commands": ["+@all", "-scan"]}
    redis_client.acl_setuser("worker", **cast("Any", rules))
    with closing(connect(re.sub("//:.*@", "//worker:p@", redis_url))) as worker:
        with pytest.raises(SlatesError, match=r"^an export lists keys, .* allow it \+scan"):
            export(worker, tmp_path / "exported")
        redis_client.acl_setuser("worker", commands=["+scan"])
        assert export(worker, tmp_path / "exported").counts["user"] == len(USERS)
    redis_client.acl_deluser("worker")


def test_a_half_written_generation_is_not_exported(redis_client: Redis, tmp_path: Path) -> None:
    with RunLock(redis_client, KEYS) as lock:
        writer = write(redis_client, lock)
        with pytest.raises(NoGenerationError, match="is not there whole"):
            export(redis_client, tmp_path / "exported", writer.manifest.id)


@pytest.fixture
def file(redis_client: Redis, tmp_path: Path) -> Path:
    """A file of a generation, and an empty Redis."""
    publish(redis_client)
    export(redis_client, tmp_path / "exported")
    redis_client.flushall()
    return tmp_path / "exported"


def test_what_is_imported_follows_the_live_one_and_can_be_rolled_back(redis_client: Redis, file: Path) -> None:
    before = publish(redis_client)
    here = bring_in(redis_client, file, KEYS)
    assert (here.seq, here.previous, states(redis_client)) == (2, before.id, {1: "superseded", 2: "live"})
    assert rollback(redis_client, KEYS).id == before.id
    with RunLock(redis_client, KEYS) as lock:
        stale = write(redis_client, lock, seq=lock.seq)
        redis_client.delete(KEYS.lock)
    after = bring_in(redis_client, file, KEYS)
    with pytest.raises(StaleRunError):
        stale.flip(stale.manifest)
    assert live_generation(redis_client, KEYS) == after


def test_without_live_it_stays_a_candidate_that_readers_do_not_see(redis_client: Redis, file: Path) -> None:
    before = publish(redis_client)
    here = bring_in(redis_client, file, KEYS, live=False)
    assert (here.state, states(redis_client)) == ("candidate", {1: "live", 2: "candidate"})
    assert live_generation(redis_client, KEYS) == before
    assert redis_client.ttl(KEYS.generation(here.id)) >= 3600
    rollback(redis_client, KEYS, here.id)
    assert states(redis_client) == {1: "rolled_back", 2: "live"}
    assert rollback(redis_client, KEYS).id == before.id


def test_posts_of_what_is_live_outlast_a_candidate_that_is_short_lived(redis_client: Redis, file: Path) -> None:
    publish(redis_client)
    posts = list(redis_client.scan_iter("hourfeed:post:*"))
    assert posts
    before = {key: (redis_client.hgetall(key), redis_client.ttl(key)) for key in posts}
    bring_in(redis_client, file, KEYS, live=False, ttl_s=360)
    for key, (texts, ttl_s) in before.items():
        assert redis_client.hgetall(key) == texts
        assert redis_client.ttl(key) >= ttl_s - 60


def test_an_import_that_is_killed_leaves_the_live_one_and_the_next_clears_up(
    redis_url: str, redis_client: Redis, file: Path
) -> None:
    before = publish(redis_client)
    code = (
        "import os, signal, sys; sys.path[:0] = ['tests/slates', 'tests']\n"
        "from test_move import *; from slates.client import connect\n"
        "told = Told(); told.happening = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "bring_in(connect(sys.argv[1]), Path(sys.argv[2]), KEYS, told)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, redis_url, str(file)], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert states(redis_client) == {1: "live", 2: "writing"}
    assert live_generation(redis_client, KEYS) == before
    assert redis_client.exists(KEYS.user(f"{before.id[:15]}-2", "u3"))
    assert keys_without_ttl(redis_client) == LASTING
    bring_in(redis_client, file, KEYS)
    assert states(redis_client) == {1: "superseded", 3: "live"}
    assert not list(redis_client.scan_iter(match=f"hourfeed:gen:{before.id[:15]}-2:*"))


def test_no_run_goes_on_from_what_an_import_has_left(redis_client: Redis, tmp_path: Path) -> None:
    publish(redis_client, input_digest="of events and settings", resumed=2)
    export(redis_client, tmp_path / "exported")
    here = bring_in(redis_client, tmp_path / "exported")
    assert (here.input_digest, here.resumed) == ("", 0)
    assert Archive.check(tmp_path / "exported").summary.manifest.input_digest == "of events and settings"


def test_generations_beyond_those_to_keep_go_by_the_names_in_the_file(redis_client: Redis, file: Path) -> None:
    for _ in range(5):
        bring_in(redis_client, file, KEYS)
    assert states(redis_client) == {3: "superseded", 4: "superseded", 5: "live"}
    users = list(redis_client.scan_iter(match="hourfeed:gen:*:user:*"))
    assert len(users) == 3 * len(USERS)


def test_texts_that_are_newer_than_the_file_stay_and_live_on(redis_client: Redis, file: Path, tmp_path: Path) -> None:
    post = KEYS.post(f"{Archive.check(file).summary.manifest.id}/popular")
    records = tmp_path / "with-posts"
    publish(redis_client)
    redis_client.hset(post, mapping={"text": "older", "topic": "t"})
    export(redis_client, records)
    redis_client.hset(post, "text", "newer")
    redis_client.expire(post, 60)
    bring_in(redis_client, records, KEYS)
    assert redis_client.hget(post, "text") == b"older"  # of the same moment: the file is what is wanted
    publish(redis_client, as_of=manifest_of(1).as_of.replace(hour=16))
    redis_client.hset(post, "text", "newer")
    redis_client.expire(post, 60)
    bring_in(redis_client, records, KEYS)
    assert redis_client.hget(post, "text") == b"newer"
    assert redis_client.ttl(post) >= 3600


def test_posts_that_are_taken_down_go_along_on_demand(redis_client: Redis, file: Path, tmp_path: Path) -> None:
    publish(redis_client)
    block(redis_client, KEYS, ["a b", "7"])
    export(redis_client, tmp_path / "without")
    export(redis_client, tmp_path / "with", with_blocked=True)
    bring_in(redis_client, tmp_path / "without")
    assert read_blocked(redis_client, OTHER) == set()
    bring_in(redis_client, tmp_path / "with")
    assert read_blocked(redis_client, OTHER) == {"a b", "7"}


def test_erased_users_do_not_come_back_by_a_file(redis_client: Redis, file: Path, tmp_path: Path) -> None:
    erase_user(redis_client, OTHER, "u3")
    here = bring_in(redis_client, file)
    assert [user for user in USERS if not redis_client.exists(OTHER.user(here.id, user))] == ["u3"]
    publish(redis_client)
    erase_user(redis_client, KEYS, "u4")
    assert export(redis_client, tmp_path / "again").counts["user"] == len(USERS) - 1


def test_a_file_that_changes_after_its_check_is_not_let_in(redis_client: Redis, file: Path, tmp_path: Path) -> None:
    checked = Archive.check(file)
    publish(redis_client)
    before = publish(redis_client)
    export(redis_client, file)
    with pytest.raises(ArchiveError, match="has changed while it was read"):
        import_generation(Target(redis_client, KEYS, 3600, 3), checked, Told())
    assert live_generation(redis_client, KEYS) == before


def test_a_damaged_file_is_refused_before_anything_is_written(redis_client: Redis, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArchiveError):
        bring_in(redis_client, file)
    assert redis_client.dbsize() == 0


def test_the_ttl_is_the_one_that_is_asked_for(redis_client: Redis, file: Path) -> None:
    here = bring_in(redis_client, file, ttl_s=100)
    assert 95 <= redis_client.ttl(OTHER.user(here.id, "u1")) <= 110
