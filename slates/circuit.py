"""Keeps requests from waiting, one after the other, for a Redis that is away."""

import math
import threading
import time
from collections.abc import Callable

from redis.exceptions import ClusterDownError, RedisClusterException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, ClusterDownError, RedisClusterException)
"""What redis-py raises when Redis cannot be reached, is loading, does not answer in time, or is a cluster in parts."""


_WATCHED_S = 10.0


class Circuit:
    """Open for `pause_s` after a failure; then one caller may try again while the others stay out.

    A thread that keeps calling `watch` may always try, and then nobody else does: no request waits for a Redis that
    hangs. `on_failure` is called at every failure.
    """

    def __init__(
        self,
        pause_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._pause_s = pause_s
        self._on_failure = on_failure
        self._clock = clock
        self._lock = threading.Lock()
        self._try_again_at: float | None = None
        self._watcher: int | None = None
        self._watched_until = -math.inf

    def lets_through(self) -> bool:
        """Say whether the caller may ask Redis; it reports the outcome by `failed` or `worked`."""
        if self._try_again_at is None:
            return True
        with self._lock:
            now = self._clock()
            if self._watcher == threading.get_ident():
                return True
            if self._try_again_at is not None and now < max(self._try_again_at, self._watched_until):
                return False
            self._try_again_at = now + self._pause_s
            return True

    def watch(self) -> None:
        """Note that the calling thread tries for the others: for ten seconds, in which it is to call again."""
        self._watcher, self._watched_until = threading.get_ident(), self._clock() + _WATCHED_S

    def failed(self) -> None:
        """Note that Redis was away."""
        self._try_again_at = self._clock() + self._pause_s
        if self._on_failure is not None:
            self._on_failure()

    def worked(self) -> None:
        """Note that Redis answered."""
        self._try_again_at = None
