"""A master, a replica and a sentinel on loopback, each a server of its own, for the tests of this session."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clusters import answers
from redis import Redis

from demo.held import Launch, hold_server
from demo.services import redis_binary
from slates.client import RedisError

SERVICE = "feeds"
_DOWN_AFTER_MS = 400


@dataclass(frozen=True)
class Sentinels:
    """A URL that goes by the sentinel, and those of the two servers."""

    url: str
    master_url: str
    replica_url: str
    folder: Path

    def kill_master(self) -> None:
        """SIGKILL the master; the sentinel then makes the replica master."""
        os.kill(json.loads((self.folder / "master" / "endpoint.json").read_text())["pid"], signal.SIGKILL)

    def await_failover(self) -> None:
        """Return when the replica has become master."""
        with contextlib.closing(Redis.from_url(self.replica_url, protocol=2)) as replica:
            _await(lambda: _role(replica) == "master", "no failover")


@contextmanager
def sentinels_in(folder: Path) -> Iterator[Sentinels]:
    """Start all three, and yield once the replica is in step and the sentinel knows it."""
    with contextlib.ExitStack() as running:

        def start(name: str, *options: str) -> str:
            launch = _launch(folder / name, options)
            return running.enter_context(hold_server(folder / name, launch, answers)).url

        data = (
            "--save",
            "",
            "--appendonly",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        )
        master = start("master", *data)
        master_port = str(urlsplit(master).port)
        replica = start("replica", *data, "--replicaof", "127.0.0.1", master_port)
        sentinel = start("sentinel", "--sentinel")
        watching: Any = running.enter_context(contextlib.closing(Redis.from_url(sentinel, protocol=2)))
        watching.execute_command("SENTINEL MONITOR", SERVICE, "127.0.0.1", master_port, 1)
        watching.execute_command("SENTINEL SET", SERVICE, "down-after-milliseconds", _DOWN_AFTER_MS)
        follower = running.enter_context(contextlib.closing(Redis.from_url(replica, protocol=2)))
        _await(lambda: _is_in_step(follower), "the replica does not follow")
        _await(lambda: bool(watching.sentinel_slaves(SERVICE)), "the sentinel knows no replica")
        yield Sentinels(f"redis+sentinel://{urlsplit(sentinel).netloc}/{SERVICE}/0", master, replica, folder)


def _launch(folder: Path, options: tuple[str, ...]) -> Callable[[int], Launch]:
    def launch(port: int) -> Launch:
        configuration = folder / "own.conf"
        configuration.write_text("")  # a sentinel wants a file that it may write
        argv = (str(redis_binary()), str(configuration), "--bind", "127.0.0.1", "--port", str(port), *options)
        return Launch(argv, f"redis://127.0.0.1:{port}", str(folder))

    return launch


def _is_in_step(replica: Redis) -> bool:
    return bool(replica.info("replication").get("master_link_status") == "up")


def _role(server: Redis) -> str:
    try:
        return str(server.info("replication")["role"])
    except RedisError:
        return "none"


def _await(holds: Callable[[], bool], else_: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, else_
        time.sleep(0.02)
