"""The product as its users run it: `hourfeed` commands as processes, on a state folder of their own, and a server."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from bench.errors import BenchError
from demo.held import Launch, hold_server
from demo.postgres import until_ended
from demo.services import hold_redis
from slates.client import connect
from slates.generations import live_generation
from slates.keys import Keys
from slates.manifest import Manifest

HOURFEED = Path(sys.executable).parent / "hourfeed"


def forget_own_settings() -> None:
    """Drop from this process's environment, and so from every command's, what configures a developer's hourfeed."""
    for name in list(os.environ):
        if name in {"DATABASE_URL", "REDIS_URL", "PORT"} or name.startswith("HOURFEED_"):
            del os.environ[name]


@dataclass(frozen=True)
class Service:
    """A running `hourfeed serve`, and the Redis that it and the commands share."""

    state: Path
    url: str
    redis: Redis = field(repr=False)
    keys: Keys

    def run(self, *arguments: str | Path, **environment: str) -> float:
        """Run a command to its end, and return its seconds; raise BenchError with its last words when it fails."""
        begun = time.perf_counter()
        done = subprocess.run(
            [HOURFEED, *arguments],
            env=self._environment(environment),
            cwd=self.state,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-10:])
            msg = f"hourfeed {' '.join(map(str, arguments))} ended with exit status {done.returncode}:\n{last}"
            raise BenchError(msg)
        return time.perf_counter() - begun

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command and return its process, silent."""
        return subprocess.Popen(
            [HOURFEED, *arguments],
            env=self._environment(environment),
            cwd=self.state,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def live(self) -> Manifest:
        """Return the manifest of the live generation; raise BenchError where there is none."""
        manifest = live_generation(self.redis, self.keys)
        if manifest is None:
            msg = "no generation is live"
            raise BenchError(msg)
        return manifest

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "HOURFEED_STATE": str(self.state), **given}


@contextlib.contextmanager
def serving(state: Path) -> Iterator[Service]:
    """Run an embedded Redis and `hourfeed serve` on the new folder `state`, until the block or this process ends."""
    state.mkdir(parents=True)

    def launch(port: int) -> Launch:
        command = ("/usr/bin/env", f"HOURFEED_STATE={state}", str(HOURFEED), "serve", "--port", str(port))
        return Launch(command, f"http://127.0.0.1:{port}", str(state))

    redis_server = hold_redis(state)
    with until_ended(redis_server):
        server = hold_server(state / "serve", launch, _is_alive)
        with until_ended(server), connect(redis_server.url) as redis:
            yield Service(state, server.url, redis, Keys())


def _is_alive(url: str) -> bool:
    with contextlib.closing(open_connection(url)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def open_connection(url: str) -> http.client.HTTPConnection:
    """Return a connection to the server at `url`, not opened yet."""
    target = urlsplit(url)
    return http.client.HTTPConnection(target.hostname or "", target.port, timeout=10)
