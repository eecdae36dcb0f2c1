"""Sends ready-made commands in bulk: one write and one wait for a batch, with little work for each command."""

import os
import time
from collections.abc import Sequence
from typing import Any

from redis import Redis, RedisCluster
from redis.backoff import ExponentialBackoff
from redis.exceptions import AskError, ClusterDownError, RedisClusterException, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from slates.cluster import ClusterClient, by_node, cluster_of
from slates.line import Line, line_of

Ready = tuple[str, bytes, int]
"""A key, the commands for it as bytes, and how many replies they get."""

_TRIES = 8
_KEPT = 32
"""Connections that are not given back to the pool, which has an end."""
_RESTS_S = 30.0
"""A connection that was not used for longer may be gone without a word: a new one takes its place."""
_MOVING = (AskError, ClusterDownError, TryAgainError, RedisClusterException, RedisConnectionError, RedisTimeoutError)
"""What a cluster answers while slots move or a node is replaced; a MovedError is an AskError."""


def send(redis: Redis, batch: Sequence[Ready], *, tries: int = _TRIES) -> list[Any]:
    """Send commands that may be carried out twice; return the last reply for each key.

    A broken connection is tried again as the client is set up to, and nodes of a cluster that change `tries` times.
    Raises the first error that Redis answers, within a transaction too.
    """
    cluster = cluster_of(redis)
    if cluster is not None:
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), tries, supported_errors=_MOVING)
        return retry.call_with_retry(
            lambda: _send_to_nodes(cluster, batch), lambda _error: cluster.nodes_manager.initialize()
        )
    connection: Any = redis.connection_pool.get_connection()
    try:
        replies = connection.retry.call_with_retry(
            lambda: _exchange(connection, batch), lambda _error: connection.disconnect()
        )
    except BaseException:
        connection.disconnect()  # what it may still answer belongs to nobody
        raise
    finally:
        redis.connection_pool.release(connection)
    return _last_replies(batch, replies)


class Wire:
    """Sends the few commands of a look-up, again and again; any number of threads may share one.

    It keeps connections that it has taken from the client's pool, because to take and to give back costs as much
    processor time as the exchange itself. They stay the pool's: whoever closes the client closes them.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._is_cluster = isinstance(redis, ClusterClient)  # not cluster_of, which asks it
        self._idle: list[tuple[Line, float]] = []
        self._pid = os.getpid()

    def ask(self, batch: Sequence[Ready], *, tries: int = _TRIES) -> list[Any]:
        """Send commands that get one reply each, and return the replies; for the rest as `send`.

        A connection that broke since it was last used is replaced at once; one that does not answer in time is not
        waited for a second time.
        """
        line = None if self._is_cluster else self._line()
        if line is None:
            return send(self.redis, batch, tries=tries)
        try:
            replies = line.ask(b"".join([commands for _, commands, _ in batch]), len(batch))
        except BaseException as error:
            self._give_back(line)
            if isinstance(error, RedisConnectionError) and not isinstance(error, RedisTimeoutError):
                return send(self.redis, batch, tries=tries)
            raise
        for reply in replies:
            if isinstance(reply, Exception):  # the client knows its kind, and which of them to try again
                self._give_back(line)
                return send(self.redis, batch, tries=tries)
        if len(self._idle) < _KEPT:
            self._idle.append((line, time.monotonic()))
        else:
            self._give_back(line)
        return replies

    def _line(self) -> Line | None:
        """Return one that nobody else uses; None where the client's connections are no plain sockets."""
        if self._pid != os.getpid():  # a fork must not write to its parent's connections
            self._idle, self._pid = [], os.getpid()
        while self._idle:
            kept, since_s = self._idle.pop()
            if time.monotonic() < since_s + _RESTS_S:
                return kept
            self._give_back(kept)
        connection: Any = self.redis.connection_pool.get_connection()
        line = line_of(connection)
        if line is None:
            self.redis.connection_pool.release(connection)
        return line

    def _give_back(self, line: Line) -> None:
        line.connection.disconnect()  # what it may still answer belongs to nobody
        self.redis.connection_pool.release(line.connection)


def _send_to_nodes(cluster: RedisCluster, batch: Sequence[Ready]) -> list[Any]:
    """Send to all nodes before any is waited for."""
    last: list[Any] = [None] * len(batch)
    open_: list[tuple[Redis, Any, list[int], list[Ready]]] = []
    try:
        for node, places in by_node(cluster, (key for key, _, _ in batch)).items():
            connection: Any = node.connection_pool.get_connection()
            part = [batch[place] for place in places]
            open_.append((node, connection, places, part))
            _write(connection, part)
        read = [(places, part, _read(connection, part)) for _, connection, places, part in open_]
    except BaseException:
        for _, connection, _, _ in open_:
            connection.disconnect()
        raise
    finally:
        for node, connection, _, _ in open_:
            node.connection_pool.release(connection)
    for places, part, replies in read:
        for place, reply in zip(places, _last_replies(part, replies), strict=True):
            last[place] = reply
    return last


def _exchange(connection: Any, batch: Sequence[Ready]) -> list[Any]:
    _write(connection, batch)
    return _read(connection, batch)


def _write(connection: Any, batch: Sequence[Ready]) -> None:
    connection.send_packed_command([b"".join([commands for _, commands, _ in batch])])


def _read(connection: Any, batch: Sequence[Ready]) -> list[Any]:
    return [_reply(connection) for _ in range(sum(count for _, _, count in batch))]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error  # the replies after it must be read all the same


def _last_replies(batch: Sequence[Ready], replies: Sequence[Any]) -> list[Any]:
    """Pick the last reply for each key; raise the first error of all."""
    for reply in replies:
        for part in reply if isinstance(reply, list) else (reply,):
            if isinstance(part, ResponseError):
                raise part
    last, at = [], -1
    for _, _, count in batch:
        at += count
        last.append(replies[at])
    return last
