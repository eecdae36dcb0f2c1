"""Redis and Postgres over TLS: with the right authority all works, with a wrong one or another name nothing is sent."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from certificates import Certificates, make_certificates
from extras import cannot_be_had
from published import FIRST, Generation
from sqlalchemy import make_url, text

from demo.held import Launch, hold_server, is_running
from server.app import create_app
from server.settings import ServerSettings
from slates.circuit import REDIS_AWAY
from slates.client import RedisError, connect
from slates.event_stream import count_waiting
from slates.keys import Keys
from slates.lookup import Lookup
from slates.seen import note_seen
from source.engine import database_errors, open_engine
from source.errors import SourceError

DEBIANS_REDIS = Path("/usr/bin/redis-check-rdb")
"""The server too, by another name: of Debian's redis-tools, as `make tls` installs it. The tests' own has no TLS."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def redis_place(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a Redis that talks TLS alone."""
    if not DEBIANS_REDIS.exists():
        cannot_be_had("there is no Redis with TLS: `make tls` installs it")
    folder = tmp_path_factory.mktemp("tls") / "redis"

    def launch(port: int) -> Launch:
        program = folder / "redis-server"
        if not program.exists():
            program.symlink_to(DEBIANS_REDIS)
        (folder / "server.conf").write_text(
            f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-auth-clients no\nsave ''\ndir {folder}\n"
            f"tls-cert-file {certificates.path('server.crt')}\ntls-key-file {certificates.path('server.key')}\n"
            f"tls-ca-cert-file {certificates.path('ca.crt')}\n"
        )
        return Launch((str(program), "server.conf"), with_authority(f"localhost:{port}", certificates), str(folder))

    with hold_server(folder, launch, answers) as server:
        yield server.url.partition("://")[2].partition("/")[0]
    deadline = time.monotonic() + 20
    while is_running(folder):
        assert time.monotonic() < deadline, "the server outlives its last client"
        time.sleep(0.02)


def with_authority(place: str, certificates: Certificates, name: str = "ca.crt") -> str:
    return f"rediss://{place}/0?ssl_ca_certs={certificates.path(name)}"


def answers(url: str) -> bool:
    with contextlib.closing(connect(url, timeout_s=1, retries=0)) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


def test_slates_events_and_what_is_sent_in_bulk_go_over_tls(redis_place: str, certificates: Certificates) -> None:
    url = with_authority(redis_place, certificates)
    with contextlib.closing(connect(url)) as redis:
        Generation(users={"7": {12: "1 2"}}, popular={12: "3"}).publish(redis)
        assert list(Lookup(redis, Keys()).feed("7", FIRST + 12, 2).post_ids) == ["1", "2"]
        note_seen(redis, Keys(), [("7", "1")], 1_640_000_000, 60)
        assert redis.zrange(Keys().seen("7"), 0, -1) == [b"1"]
        client = create_app(ServerSettings(open=True, redis_url=url)).test_client()
        event = {"event_id": "e", "user_id": "7", "post_id": "2", "action": "like"}
        assert client.post("/v1/events", json=event).status_code == 202
        assert count_waiting(redis, Keys()) == 1


@pytest.mark.parametrize("wrong", ["another authority", "no authority", "another name", "no TLS"])
def test_a_redis_that_cannot_show_who_it_is_gets_nothing(
    redis_place: str, certificates: Certificates, wrong: str
) -> None:
    right = with_authority(redis_place, certificates)
    url = {
        "another authority": with_authority(redis_place, certificates, "other.crt"),
        "no authority": f"rediss://{redis_place}/0",
        "another name": right.replace("localhost", "127.0.0.1"),
        "no TLS": f"redis://{redis_place}/0",
    }[wrong]
    assert answers(right)
    with contextlib.closing(connect(url, retries=0)) as redis, pytest.raises(REDIS_AWAY):
        redis.ping()


@pytest.fixture
def tls_postgres(postgres_url: str, certificates: Certificates) -> Iterator[str]:
    """URL of an empty database of a Postgres that knows TLS, by the name in its certificate."""
    owner = postgres_url.replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(owner)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT current_setting('data_directory')")
        folder = Path(cursor.fetchone()[0])  # type: ignore[index]
        belongs_to = folder.stat()
        for name in ("server.crt", "server.key"):
            shutil.copy(certificates.path(name), folder / name)
            os.chown(folder / name, belongs_to.st_uid, belongs_to.st_gid)
            (folder / name).chmod(0o600)
        cursor.execute("ALTER SYSTEM SET ssl = on")
        cursor.execute("SELECT pg_reload_conf()")
        try:
            yield make_url(owner).set(host="localhost").render_as_string(hide_password=False)
        finally:
            cursor.execute("ALTER SYSTEM RESET ssl")
            cursor.execute("SELECT pg_reload_conf()")


def is_encrypted(url: str, folder: Path) -> bool:
    engine = open_engine(url, folder)
    try:
        with database_errors(engine, "connecting"), engine.connect() as connection:
            return bool(connection.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")))
    finally:
        engine.dispose()


def test_postgres_is_read_over_tls_by_the_authority_that_is_named(
    tls_postgres: str, certificates: Certificates, tmp_path: Path
) -> None:
    right = f"{tls_postgres}?sslmode=verify-full&sslrootcert={certificates.path('ca.crt')}"
    deadline = time.monotonic() + 20
    while True:  # the server takes its new settings when it comes to it
        try:
            assert is_encrypted(right, tmp_path)
            break
        except SourceError as error:
            if "does not support SSL" not in str(error) or time.monotonic() > deadline:
                raise
    assert is_encrypted(right.replace("verify-full", "require"), tmp_path)

    wrong = {
        right.replace("ca.crt", "other.crt"): "certificate verify failed",
        right.replace("localhost", "127.0.0.1"): "does not match host name",
        f"{tls_postgres}?sslmode=verify-full&sslrootcert={tmp_path / 'none.crt'}": "does not exist",
    }
    for url, reason in wrong.items():
        with pytest.raises(SourceError, match=reason) as refused:
            is_encrypted(url, tmp_path)
        password = make_url(url).password
        assert isinstance(password, str)
        assert password not in str(refused.value)
