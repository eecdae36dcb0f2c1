"""A Redis Cluster of three masters on loopback, each a server of its own, for the tests of this session."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from demo.held import Launch, hold_server
from demo.services import redis_binary
from slates.client import RedisError

MASTERS = 3
SLOTS = 16_384


@contextmanager
def cluster_in(folder: Path) -> Iterator[str]:
    """Start the masters, share the slots out, and yield the URL of the cluster once all of them agree on it."""
    with contextlib.ExitStack() as running:
        urls = [
            running.enter_context(hold_server(folder / str(number), _launch_in(folder / str(number)), answers)).url
            for number in range(MASTERS)
        ]
        masters: list[Any] = [
            running.enter_context(contextlib.closing(Redis.from_url(url, protocol=2))) for url in urls
        ]
        shares = [range(SLOTS * n // MASTERS, SLOTS * (n + 1) // MASTERS) for n in range(MASTERS)]
        for master, share in zip(masters, shares, strict=True):
            master.execute_command("CLUSTER ADDSLOTS", *share)
        for number, master in enumerate(masters[1:], start=1):
            port = master.connection_pool.connection_kwargs["port"]
            bus = int((folder / str(number) / "bus").read_text())
            masters[0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        deadline = time.monotonic() + 30
        while not all(_agrees(master) for master in masters):
            assert time.monotonic() < deadline, "the cluster does not come together"
            time.sleep(0.05)
        yield urls[0].replace("redis://", "redis+cluster://")


def _launch_in(folder: Path) -> Callable[[int], Launch]:
    def launch(port: int) -> Launch:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            bus = free.getsockname()[1]
        (folder / "bus").write_text(str(bus))
        options = f"--bind 127.0.0.1 --port {port} --cluster-enabled yes --cluster-port {bus} --appendonly no".split()
        argv = (str(redis_binary()), *options, "--save", "", "--hash-max-listpack-value", "1024")
        return Launch(argv, f"redis://127.0.0.1:{port}", str(folder))

    return launch


def answers(url: str) -> bool:
    with contextlib.closing(Redis.from_url(url, protocol=2, socket_timeout=1.0)) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


def _agrees(master: Any) -> bool:
    info = master.execute_command("CLUSTER INFO")
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", str(MASTERS))
