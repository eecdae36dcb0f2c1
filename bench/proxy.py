"""A TCP proxy that spoils connections on demand: cuts them in the middle of an answer, delays or refuses."""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65_536


class Proxy:
    """Hands bytes on between clients and the server at `url`, as its methods have it; any thread may call these.

    `delay_s` is waited for before each chunk of an answer is handed on; `answered` counts the bytes of answers.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._until_cut: int | None = None
        self._open: set[socket.socket] = set()
        self._pumps: list[threading.Thread] = []
        self.delay_s = 0.0
        self.cuts = 0
        self.answered = 0
        self._listen(0)

    @property
    def url(self) -> str:
        """Return the server's URL with the proxy's address in it."""
        user, at, _ = self._url.netloc.rpartition("@")
        return self._url._replace(netloc=f"{user}{at}127.0.0.1:{self._port}").geturl()

    def cut_after(self, answer_bytes: int) -> None:
        """Let so many more bytes of answers through, over all connections, then end the connection of the last one."""
        with self._lock:
            self._until_cut = answer_bytes

    def cut(self) -> None:
        """End all connections now; new ones are taken."""
        with self._lock:
            for connection in self._open:
                _shut(connection)

    def lead_to(self, url: str) -> None:
        """Hand on to another server from now on, as an address does that goes over to a replica."""
        self._url = urlsplit(url)
        self.cut()

    def withhold(self) -> None:
        """Keep all bytes back, in both directions, until `recover`; connections stay open, and new ones are taken."""
        self._flows.clear()

    def refuse(self) -> None:
        """End all connections and take none until `recover`, as where no server runs."""
        self._stop_listening()
        self.cut()

    def recover(self, *, unless_cut: bool = False) -> None:
        """Work as if nothing had been; with `unless_cut` a cut that is due still comes."""
        if not unless_cut:
            with self._lock:
                self._until_cut = None
        self.delay_s = 0.0
        self._flows.set()
        if self._listener.fileno() < 0:
            self._listen(self._port)

    def close(self) -> None:
        """End everything."""
        self._stop_listening()
        self._flows.set()
        self.cut()
        for pump in self._pumps:
            pump.join()

    def __enter__(self) -> Self:
        """Work until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.close()

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def _stop_listening(self) -> None:
        if self._listener.fileno() < 0:
            return
        _shut(self._listener)  # wakes the thread that accepts
        self._acceptor.join()
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((self._url.hostname or "", self._url.port or 0))
            except OSError:  # no server runs: the client is told so by the end of its connection
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
                self._pumps = [pump for pump in self._pumps if pump.is_alive()]
            for pair in ((client, server, False), (server, client, True)):
                pump = threading.Thread(target=self._pump, args=pair, daemon=True)
                pump.start()
                self._pumps.append(pump)

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                self._flows.wait()
                if is_answer:
                    time.sleep(self.delay_s)
                passed = self._let_through(len(chunk)) if is_answer else len(chunk)
                target.sendall(chunk[:passed])
                if passed < len(chunk):
                    break
        with self._lock:  # the first of both pumps that ends, ends the connection
            for connection in (source, target):
                _shut(connection)
                self._open.discard(connection)
        if not is_answer:
            return
        source.close()
        target.close()

    def _let_through(self, size: int) -> int:
        """Return how many of an answer's bytes pass."""
        with self._lock:
            self.answered += size
            if self._until_cut is None or self._until_cut >= size:
                self._until_cut = None if self._until_cut is None else self._until_cut - size
                return size
            passed, self._until_cut = self._until_cut, None
            self.cuts += 1
            return passed


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
