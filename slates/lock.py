"""One batch at a time, on any number of machines, and a number that fences the ones that lost their turn."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError, WatchError

from slates.circuit import REDIS_AWAY
from slates.cluster import control
from slates.errors import LockHeldError, StaleRunError
from slates.keys import Keys
from slates.refusal import refusal_explained
from slates.standing import newest_seq

_POLL_S = 0.2


@dataclass(frozen=True)
class Turn:
    """A run's hold of the lock, as other processes that work for the run know it."""

    lock: str
    seq: int
    value: bytes

    def check(self, redis: Redis) -> None:
        """Raise StaleRunError when the lock is no longer this run's."""
        if redis.get(self.lock) != self.value:
            raise StaleRunError(self.lost())

    def lost(self) -> str:
        """Say that the turn is over."""
        return f"run {self.seq} lost {self.lock} (paused too long, or taken over), so it publishes nothing"


class RunLock:
    """Holds `{prefix}:lock` while a batch runs, renewed from a thread of its own.

    `seq` is this run's fencing number: it rises with every holder of the lock, and publishing compares it
    (generations.flip). A holder that died on this very host is seen at once; one that died elsewhere after `ttl_s`.
    No clock of this machine decides anything: Redis counts the TTL. `while_waiting` may raise to end the wait.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        ttl_s: float = 30.0,
        wait_s: float = 60.0,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._ttl_ms = int(ttl_s * 1000)
        self._wait_s = wait_s
        self._while_waiting = while_waiting
        self._stop = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lock-renewer", daemon=True)
        self.seq = 0
        self.value = b""

    def __enter__(self) -> Self:
        """Take the lock, waiting up to `wait_s`; raise LockHeldError when another run still holds it then."""
        self.value = _describe()
        with refusal_explained():
            self._take()
            try:
                # Only now: a number drawn before the wait would be older than the run that was waited for.
                self.seq = self._draw()
            except BaseException:
                self._release()
                raise
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back if it is still ours."""
        self._stop.set()
        self._renewer.join()
        try:
            self._release()
        except (RedisError, *REDIS_AWAY):
            if error is None:
                raise

    def give_back(self) -> None:
        """Give the lock back before the block ends; from then on this run can publish nothing."""
        self._stop.set()
        self._release()

    @property
    def turn(self) -> Turn:
        """Return what other processes need to check that the lock is still ours."""
        return Turn(self._keys.lock, self.seq, self.value)

    def check(self) -> None:
        """Raise StaleRunError when the lock is no longer ours."""
        self.turn.check(self._redis)

    def guard(self, pipeline: Pipeline) -> None:
        """Watch the lock in `pipeline`, so that its transaction fails once the lock is lost; raise if it is already."""
        cast("Any", pipeline).watch(self._keys.lock)
        if cast("Any", pipeline).get(self._keys.lock) != self.value:
            raise StaleRunError(self.turn.lost())

    def _draw(self) -> int:
        """Draw the next number, above those of all generations: the counter may have been lost while they were not."""
        number = self._redis.incr(self._keys.seq)
        newest = newest_seq(self._redis, self._keys)
        return number if number > newest else self._redis.incrby(self._keys.seq, newest + 1 - number)

    def _take(self) -> None:
        deadline = time.monotonic() + self._wait_s
        while not self._redis.set(self._keys.lock, self.value, nx=True, px=self._ttl_ms):
            holder = cast("bytes | None", self._redis.get(self._keys.lock))
            if holder == self.value:
                return  # the connection broke before the answer, and redis-py asked again
            if holder is not None and _is_dead_here(holder):
                replace_if(control(self._redis, self._keys), self._keys.lock, holder, None)
            elif time.monotonic() > deadline:
                msg = (
                    f"another batch holds {self._keys.lock} ({_who(holder)}); wait for it, or look at `hourfeed status`"
                )
                raise LockHeldError(msg)
            else:
                self._while_waiting()
                time.sleep(_POLL_S)

    def _release(self) -> None:
        replace_if(control(self._redis, self._keys), self._keys.lock, self.value, None)

    def _renew(self) -> None:
        while not self._stop.wait(self._ttl_ms / 3000):
            try:
                node = control(self._redis, self._keys)
                if not replace_if(node, self._keys.lock, self.value, self.value, self._ttl_ms):
                    return
            except (RedisError, *REDIS_AWAY):
                continue  # a later renewal may still be in time, and flip checks in any case


def replace_if(redis: Redis, key: str, old: bytes, new: bytes | None, ttl_ms: int | None = None) -> bool:
    """Set `key` to `new` (None: delete it) if it holds `old`; say whether it did."""
    while True:
        with redis.pipeline() as pipeline:
            cast("Any", pipeline).watch(key)
            if cast("Any", pipeline).get(key) != old:
                return False
            pipeline.multi()
            if new is None:
                pipeline.delete(key)
            else:
                pipeline.set(key, new, px=ttl_ms)
            try:
                pipeline.execute()
            except WatchError:
                continue  # the key changed, or the connection broke: look again
        return True


def _describe() -> bytes:
    holder = {"host": _host(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    return json.dumps(holder, separators=(",", ":")).encode()


def _host() -> str:
    """Name the set of processes in which a pid is unique: the host, its boot and its pid namespace."""
    parts = [socket.gethostname()]
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    if boot_id.exists():
        parts += [boot_id.read_text().strip()[:8], str(namespace.stat().st_ino)]
    return "/".join(parts)


def _is_dead_here(holder: bytes) -> bool:
    try:
        known = json.loads(holder)
        if known["host"] != _host():
            return False
        os.kill(int(known["pid"]), 0)
    except ProcessLookupError:
        return True
    except (ValueError, KeyError, TypeError, PermissionError):
        return False
    return False


def _who(holder: bytes | None) -> str:
    try:
        known = json.loads(holder or b"")
        return f"process {known['pid']} on {known['host']}"
    except (ValueError, KeyError, TypeError):
        return "holder unknown"
