import socket
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from slates.line import Line, line_of


@pytest.fixture
def ends() -> Iterator[tuple[Line, socket.socket]]:
    """Return a line and the end that Redis would hold."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.2)
        line = line_of(SimpleNamespace(_sock=ours))
        assert line is not None
        yield line, theirs


def test_replies_that_come_in_pieces_are_put_together(ends: tuple[Line, socket.socket]) -> None:
    line, redis = ends
    answer = b"*2\r\n$5\r\nhello\r\n$-1\r\n" + b"$40000\r\n" + 40_000 * b"x" + b"\r\n:7\r\n"

    def answer_in_pieces() -> None:
        redis.recv(100)
        for at in range(0, 45, 9):
            redis.sendall(answer[at : at + 9])
        redis.sendall(answer[45:])

    answering = Thread(target=answer_in_pieces)
    answering.start()
    assert line.ask(b"asked", 3) == [[b"hello", None], 40_000 * b"x", 7]
    answering.join()


def test_an_error_that_redis_answers_is_a_reply_among_others(ends: tuple[Line, socket.socket]) -> None:
    line, redis = ends
    redis.sendall(b"-WRONGTYPE no\r\n+OK\r\n")
    error, fine = line.ask(b"asked", 2)
    assert (str(error), isinstance(error, Exception), fine) == ("WRONGTYPE no", True, b"OK")


def test_silence_is_a_timeout_and_the_end_of_the_connection_is_said(ends: tuple[Line, socket.socket]) -> None:
    line, redis = ends
    with pytest.raises(RedisTimeoutError):
        line.ask(b"asked", 1)
    redis.shutdown(socket.SHUT_RDWR)
    with pytest.raises(RedisConnectionError):
        line.ask(b"asked", 1)


def test_a_timeout_below_a_microsecond_is_no_wait_without_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(1e-9)
        with pytest.raises(RedisTimeoutError):
            Line(None, ours).ask(b"asked", 1)


def test_there_is_no_line_without_a_socket() -> None:
    assert line_of(SimpleNamespace(_sock=None)) is None
    assert line_of(object()) is None
