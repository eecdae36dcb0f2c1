"""deploy/postgres-roles.sql and deploy/redis.acl are enough for each process, and for nothing else."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pandas as pd
import psycopg2
import pytest
from published import Generation
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from sqlalchemy import make_url

from batch.drain import Drain
from batch.pipeline import run_batch
from batch.settings import BatchSettings
from demo.held import Launch, hold_server, is_running
from demo.services import redis_binary
from server.app import create_app
from server.settings import ServerSettings
from slates.client import RedisError, connect
from slates.diff import compare
from slates.erase import erase_user
from slates.export import export_generation
from slates.generations import live_generation, rollback
from slates.keys import Keys
from slates.restore import Archive, Target, import_generation
from slates.sample import sample_users
from source.drained import DrainTarget
from source.engine import open_engine
from source.erase import delete_rows_of
from source.schema import SourceSchema
from source.write import write_rows

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLES = ("reader", "drain", "erase")
AS_OF = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SCHEMA = SourceSchema()
KEYS = Keys()
OF_A_TEST = "user test on >of-a-test ~* &* +@all"


def execute(url: str, statements: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statements)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def urls(postgres_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """URLs of a small database by role, and of its owner."""
    engine = open_engine(postgres_url, tmp_path)
    users = pd.DataFrame({"user_id": [1, 2, 3], "country": ["NL", "DE", "NL"]})
    posts = pd.DataFrame({"post_id": [10, 11, 12], "text": ["one", "two", "three"], "topic": ["a", "a", "b"]})
    hours = [timedelta(hours=hours) for hours in (2, 3, 4, 5)]
    moments = [(AS_OF - before).replace(tzinfo=None) for before in hours]
    events = pd.DataFrame(
        {"timestamp": moments, "user_id": [1, 2, 2, 3], "post_id": [10, 10, 11, 12], "action": ["like"] * 4}
    )
    for kind, frame in (("users", users), ("posts", posts), ("events", events)):
        write_rows(engine, SCHEMA, kind, frame)  # type: ignore[arg-type]
    engine.dispose()
    owner = postgres_url.replace("+psycopg2", "")
    execute(owner, (DEPLOY / "postgres-roles.sql").read_text())
    place = make_url(owner)
    found = {
        role: place.set(username=f"hourfeed_{role}", password=f"change-me-{role}").render_as_string(hide_password=False)
        for role in ROLES
    }
    yield {**found, "owner": owner}
    for role in ROLES:
        execute(owner, f"DROP OWNED BY hourfeed_{role}; DROP ROLE hourfeed_{role}")


@dataclass(frozen=True)
class Acl:
    """A Redis with deploy/redis.acl."""

    place: str

    def url(self, user: str) -> str:
        return f"redis://hourfeed-{user}:change-me-{user}@{self.place}"

    @contextlib.contextmanager
    def client(self, user: str) -> Iterator[Redis]:
        with contextlib.closing(connect(self.url(user), retries=0)) as client:
            yield client

    @contextlib.contextmanager
    def everything(self) -> Iterator[Redis]:
        with contextlib.closing(connect(f"redis://test:of-a-test@{self.place}")) as client:
            yield client


def answers(url: str) -> bool:
    with contextlib.closing(connect(url, timeout_s=1, retries=0)) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


@pytest.fixture(scope="module")
def acl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acl]:
    folder = tmp_path_factory.mktemp("acl") / "redis"

    def launch(port: int) -> Launch:
        conf = f"include {DEPLOY / 'redis.acl'}\n{OF_A_TEST}\nbind 127.0.0.1\nport {port}\nsave ''\ndir {folder}\n"
        (folder / "server.conf").write_text(conf)
        return Launch((str(redis_binary()), "server.conf"), f"redis://test:of-a-test@127.0.0.1:{port}/0", str(folder))

    with hold_server(folder, launch, answers) as server:
        yield Acl(server.url.rpartition("@")[2])
    deadline = time.monotonic() + 20
    while is_running(folder):
        assert time.monotonic() < deadline, "the server outlives its last client"
        time.sleep(0.02)


class Nobody:
    def stage(self, name: str, done: int, total: int | None) -> None: ...
    def note(self, text: str) -> None: ...


def publish(urls: dict[str, str], acl: Acl, state: Path) -> None:
    """Run a batch as the reader, and as Redis's worker."""
    settings = BatchSettings(state=state, ranker="popular_24h", hours=3, schedule="0 * * * *")
    engine = open_engine(urls["reader"], state)
    with contextlib.closing(connect(acl.url("worker"))) as redis:
        run_batch(settings, engine, redis, AS_OF, Nobody())
    engine.dispose()


def refusals(acl: Acl) -> list[tuple[str, str]]:
    with acl.everything() as client:
        log: Any = client.acl_log()
        return [(str(entry["username"]), str(entry["object"])) for entry in log]


def test_batch_server_drain_and_erasure_each_work_with_no_more_rights_than_the_examples_give(
    urls: dict[str, str], acl: Acl, tmp_path: Path
) -> None:
    with acl.everything() as redis:
        redis.flushall()
        redis.acl_log_reset()
    publish(urls, acl, tmp_path)
    publish(urls, acl, tmp_path)

    settings = ServerSettings(open=True, redis_url=acl.url("web"), database_url=urls["reader"], rate_limit=1_000)
    client = create_app(settings).test_client()
    feed = client.get(f"/v1/users/1/feed?at={AS_OF:%Y-%m-%dT%H:%M}").json
    assert feed is not None
    assert {post["id"] for post in feed["items"]} == {11, 12}
    assert client.get("/user/2").json == {"id": 2, "country": "DE"}
    for url in ("/v1/popular", "/v1/posts/10/similar", "/user/1/feed", "/readyz", "/metrics", "/ops?user=1"):
        assert client.get(url).status_code == 200, url
    posted = {"event_id": "e1", "user_id": 1, "post_id": 11, "action": "like"}
    assert client.post("/v1/events", json=posted).json == {"accepted": 1, "known": 0}
    assert client.post("/v1/blocked", json={"post_ids": [12]}).json == {"changed": 1}
    assert client.delete("/v1/blocked/12").json == {"changed": 1}

    drained = open_engine(urls["drain"], tmp_path)
    with acl.client("worker") as redis:
        assert Drain(redis, KEYS, DrainTarget(drained, SCHEMA), tmp_path / "quarantine").run_once() == 1
        drained.dispose()
        assert execute(urls["owner"], "SELECT count(*) FROM feed_data WHERE (user_id, post_id) = (1, 11)") == [(1,)]
        live = live_generation(redis, KEYS)
        assert live is not None
        assert rollback(redis, KEYS).id == live.previous
        erased = erase_user(redis, KEYS, "1")
        assert (erased.slates, erased.seen) == (2, 1)
    erasing = open_engine(urls["erase"], tmp_path)
    assert delete_rows_of(erasing, SCHEMA, "1") == {"feed_data": 2, "user_data": 1}
    erasing.dispose()
    with acl.client("export") as redis:
        summary = export_generation(redis, KEYS, tmp_path / "export", Nobody(), with_blocked=True)
        assert summary.counts["user"] == 2
        before = live_generation(redis, KEYS)
        assert before is not None
        users = sample_users(redis, KEYS, before.id, 10)
        assert compare(redis, KEYS, before, before, users).users == 2  # as `hourfeed diff` does
    with acl.client("worker") as redis:
        target = Target(redis, KEYS, ttl_s=3_600, keep=3)
        assert import_generation(target, Archive.check(tmp_path / "export"), Nobody()).users == 3
    # What a run would like to know beside, and does without: how Redis stores hashes.
    assert {entry for entry in refusals(acl) if entry != ("hourfeed-worker", "config|get")} == set()


FORBIDDEN_IN_SQL = {
    "reader": (
        "INSERT INTO feed_data (timestamp, user_id, post_id, action) VALUES (now(), 1, 10, 'like')",
        "DELETE FROM user_data",
        "UPDATE post_text_df SET text = ''",
        "CREATE TABLE public.own (n integer)",
        "SELECT * FROM hourfeed_drained",
    ),
    "drain": (
        "SELECT * FROM feed_data",
        "SELECT * FROM user_data",
        "UPDATE feed_data SET action = 'like'",
        "DELETE FROM feed_data",
        "INSERT INTO user_data (user_id) VALUES (9)",
        "TRUNCATE hourfeed_drained",
        "CREATE TABLE public.own (n integer)",
        "SELECT * FROM hourfeed_exposures",
    ),
    "erase": (
        "INSERT INTO feed_data (timestamp, user_id, post_id, action) VALUES (now(), 1, 10, 'like')",
        "SELECT * FROM post_text_df",
        "TRUNCATE feed_data",
    ),
}


def test_a_role_of_the_database_can_do_nothing_else(urls: dict[str, str]) -> None:
    for role, statements in FORBIDDEN_IN_SQL.items():
        for statement in statements:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                execute(urls[role], f"SET default_transaction_read_only = off; COMMIT; BEGIN; {statement}")


Try = Callable[[Any], object]
FORBIDDEN: dict[str, Try] = {
    "FLUSHALL": lambda redis: redis.flushall(),
    "KEYS": lambda redis: redis.keys("*"),
    "SCAN": lambda redis: redis.scan(),
    "CONFIG GET": lambda redis: redis.config_get("requirepass"),
    "CONFIG SET": lambda redis: redis.config_set("dir", "/tmp"),
    "ACL": lambda redis: redis.acl_list(),
    "MONITOR": lambda redis: redis.execute_command("MONITOR"),
    "SAVE": lambda redis: redis.save(),
    "SCRIPT FLUSH": lambda redis: redis.script_flush(),
    "REPLICAOF": lambda redis: redis.execute_command("REPLICAOF", "127.0.0.1", "1"),
    "another prefix": lambda redis: redis.get("other:current"),
    "another prefix by a script": lambda redis: redis.eval("return redis.call('GET', 'other:current')", 0),
}
FORBIDDEN_TO_WEB: dict[str, Try] = {
    "publish": lambda redis: redis.set(KEYS.current, "mine"),
    "publish by a script": lambda redis: redis.eval("return redis.call('SET', KEYS[1], 'mine')", 1, KEYS.current),
    "change a slate": lambda redis: redis.execute_command("HSET", KEYS.user("g", "1"), "2021122015", "1"),
    "remove a generation": lambda redis: redis.delete(KEYS.generation("g")),
    "erase": lambda redis: redis.unlink(KEYS.user("g", "1")),
    "take the lock": lambda redis: redis.set(KEYS.lock, "mine"),
    "start an experiment": lambda redis: redis.set(KEYS.experiment, "{}"),
    "read events": lambda redis: redis.xrange(KEYS.events),
}


@pytest.mark.parametrize(
    ("user", "what"),
    [
        (user, what)
        for user in ("web", "worker", "export")
        for what in FORBIDDEN
        if (user, what) != ("export", "SCAN")  # it lists the users of a generation
    ],
)
def test_no_user_of_redis_can(acl: Acl, user: str, what: str) -> None:
    with acl.client(user) as redis, pytest.raises((NoPermissionError, ResponseError), match=r"(?i)permission"):
        FORBIDDEN[what](redis)


@pytest.mark.parametrize("what", FORBIDDEN_TO_WEB)
def test_the_server_cannot(acl: Acl, what: str) -> None:
    with acl.client("web") as redis, pytest.raises((NoPermissionError, ResponseError), match=r"(?i)permission"):
        FORBIDDEN_TO_WEB[what](redis)


def test_nobody_comes_in_without_a_name(acl: Acl) -> None:
    for url in (f"redis://{acl.place}", f"redis://:change-me-web@{acl.place}", f"redis://hourfeed-web:x@{acl.place}"):
        with (
            contextlib.closing(connect(url, retries=0)) as redis,
            pytest.raises((AuthenticationError, ResponseError), match=r"NOAUTH|WRONGPASS|required|invalid"),
        ):
            redis.ping()


def test_an_erasure_by_the_server_fails_openly_where_its_user_may_not(acl: Acl) -> None:
    client = create_app(ServerSettings(open=True, redis_url=acl.url("web"))).test_client()
    answer = client.delete("/v1/users/1")
    assert answer.status_code == 503
    assert answer.json == {"error": {"reason": "what lies in Redis cannot be served; the server's log says why"}}


def test_what_an_export_reads_it_cannot_change(acl: Acl) -> None:
    with acl.client("export") as redis, pytest.raises(NoPermissionError):
        redis.set(KEYS.current, "mine")


def test_an_erasure_by_the_server_works_with_what_the_example_says_to_add(acl: Acl) -> None:
    (added,) = re.findall(r"^# its line: (.*)$", (DEPLOY / "redis.acl").read_text(), re.MULTILINE)
    client = create_app(ServerSettings(open=True, redis_url=acl.url("web"))).test_client()
    with acl.everything() as redis:
        redis.flushall()
        Generation(users={"1": {12: "5"}}, popular={12: "5"}).publish(redis)
        (before,) = (line for line in cast("list[str]", redis.acl_list()) if "hourfeed-web" in line)
        redis.execute_command("ACL", "SETUSER", "hourfeed-web", *added.split())  # type: ignore[no-untyped-call]
        try:
            answer = client.delete("/v1/users/1")
            assert answer.status_code == 200
            assert answer.json is not None
            assert answer.json["removed"]["slates"] == 1
        finally:
            rules = before.split()[2:]
            redis.execute_command("ACL", "SETUSER", "hourfeed-web", "reset", *rules)  # type: ignore[no-untyped-call]
