import socket
import threading
from contextlib import closing

import pytest

from slates.client import REDIS_AWAY, connect
from slates.errors import SlatesError


class Silent:
    """A server that takes connections and answers nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        while True:
            taken, _ = self._socket.accept()
            if not taken.recv(1):  # that of `close`
                taken.close()
                return
            self._taken.append(taken)

    def close(self) -> int:
        """End, and return how many connections were made."""
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join(10)
        for taken in self._taken:
            taken.close()
        self._socket.close()
        return len(self._taken)


@pytest.mark.parametrize("may_wait", [True, False])
def test_whoever_has_something_else_to_answer_asks_a_redis_that_hangs_once(may_wait: bool) -> None:
    silent = Silent()
    client = connect(silent.url, timeout_s=0.1, retries=1, may_wait=may_wait)
    with closing(client), pytest.raises(REDIS_AWAY):
        client.get("key")
    assert (silent.close() > 1) is may_wait


def test_a_url_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(SlatesError, match=r"^REDIS_URL is not a Redis URL; it looks like redis://127") as raised:
        connect("http://me:secret@127.0.0.1")
    assert "secret" not in str(raised.value)


def test_as_many_threads_as_a_server_may_have_find_a_connection_each(redis_url: str) -> None:
    with closing(connect(redis_url)) as redis:
        pool = redis.connection_pool
        taken = [pool.get_connection() for _ in range(256)]
        for connection in taken:
            pool.release(connection)
