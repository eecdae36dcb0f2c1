"""A line: one connection to Redis, written and read without the layers of its client."""

import socket
import struct
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_AT_ONCE = 16_384
"""Bytes that are read at once: more than a look-up's replies nearly always are."""
_UNFINISHED = object()


class Line:
    """A connection that redis-py has opened, and still owns: for who asks the same few things again and again.

    The system itself ends a wait that takes too long. Python's own timeouts would first `poll` before each call, and
    give up and win back the interpreter's lock for that, which is what threads that serve requests wait for most.
    """

    def __init__(self, connection: Any, opened: socket.socket) -> None:
        self.connection = connection
        self._socket = opened
        self._reader = hiredis.Reader(notEnoughData=_UNFINISHED)
        timeout_s = opened.gettimeout()
        if timeout_s is not None and type(opened) is socket.socket:  # TLS needs Python's
            opened.settimeout(None)
            seconds, rest_s = divmod(timeout_s, 1)
            timeval = struct.pack("@ll", int(seconds), max(1, int(rest_s * 1e6)))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def ask(self, commands: bytes, n_replies: int) -> list[Any]:
        """Send commands and return their replies; an error of Redis is a reply too.

        Raises what redis-py raises where Redis is away or does not answer in time; then the line is of no more use.
        """
        replies: list[Any] = []
        try:
            self._socket.sendall(commands)
            while len(replies) < n_replies:
                received = self._socket.recv(_AT_ONCE)
                if not received:
                    raise RedisConnectionError("Redis has closed the connection")
                self._reader.feed(received)
                while len(replies) < n_replies and (reply := self._reader.gets()) is not _UNFINISHED:
                    replies.append(reply)
        except (BlockingIOError, TimeoutError) as error:  # the first is the system's word for the second
            raise RedisTimeoutError("Redis does not answer in time") from error
        except OSError as error:
            raise RedisConnectionError(f"the connection to Redis broke: {error}") from error
        return replies


def line_of(connection: Any) -> Line | None:
    """Return a line on a connection of redis-py; None where that has no socket, as in a test without Redis."""
    opened = getattr(connection, "_sock", None)
    return Line(connection, opened) if isinstance(opened, socket.socket) else None
