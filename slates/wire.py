"""Sends ready-made commands in bulk: one write and one wait for a batch, with little work for each command."""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

Ready = tuple[str, bytes, int]
"""A key, the commands for it as bytes, and how many replies they get."""


def send(redis: Redis, batch: Sequence[Ready]) -> list[Any]:
    """Send commands that may be carried out twice; return the last reply for each key.

    A broken connection is tried again as the client is set up to. Raises the first error that Redis answers, within
    a transaction too.
    """
    pool = redis.connection_pool
    connection: Any = pool.get_connection()
    try:
        replies = connection.retry.call_with_retry(
            lambda: _exchange(connection, batch), lambda _error: connection.disconnect()
        )
    except BaseException:
        connection.disconnect()  # what it may still answer belongs to nobody
        raise
    finally:
        pool.release(connection)
    return last_replies(batch, replies)


def last_replies(batch: Sequence[Ready], replies: Sequence[Any]) -> list[Any]:
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


def _exchange(connection: Any, batch: Sequence[Ready]) -> list[Any]:
    connection.send_packed_command([b"".join([commands for _, commands, _ in batch])])
    return [_reply(connection) for _ in range(sum(count for _, _, count in batch))]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error  # the replies after it must be read all the same
