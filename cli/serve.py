"""`hourfeed serve`: gunicorn in this process, with the embedded Redis where no other is named."""

import contextlib
import socket
import sys
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication

from cli.context import read_settings
from server.app import create_app
from server.gunicorn import options, start_refreshing
from server.settings import ServerSettings

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


@click.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: HOURFEED_HOST or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port to listen on.  [default: HOURFEED_PORT or 8000]")
def command(host: str | None, port: int | None) -> None:
    """Serve feeds over HTTP until interrupted; the last line printed asks for one."""
    serve(read_settings(ServerSettings, host=host, port=port))


def serve(settings: ServerSettings, example_user: str = "1") -> None:
    """Serve until SIGINT or SIGTERM, which end the process; print a request to paste once the workers are ready."""
    check_port(settings.host, settings.port)
    with contextlib.ExitStack() as held:
        if settings.redis_url is None:
            from demo.services import hold_redis  # only where it is wanted

            service = held.enter_context(hold_redis(settings.state))
            settings = settings.model_copy(update={"redis_url": service.url})
        _Server(settings, example_user).run()


def check_port(host: str, port: int) -> None:
    """Raise a usage error where nobody could listen on the address now, before anything is begun for it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        msg = f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another with --port or --host"
        raise click.ClickException(msg) from error


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """Gunicorn, configured by server/gunicorn.py, telling on standard output when the last worker is up."""

    def __init__(self, settings: ServerSettings, example_user: str) -> None:
        self._settings = settings
        self._example_user = example_user
        super().__init__()

    def load_config(self) -> None:
        chosen = options(self._settings) | {"post_worker_init": self._worker_is_ready}
        for name, value in chosen.items():
            if name in self.cfg.settings:  # older versions know no control socket
                self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(self._settings)

    def _worker_is_ready(self, worker: Any) -> None:
        start_refreshing(worker)
        if worker.age == self._settings.workers:  # the last of the first ones; those that replace it are younger
            address = f"{self._settings.host}, port {self._settings.port}"
            sys.stderr.write(f"serving on {address}, until Ctrl-C; ask for a feed from another shell:\n")
            sys.stderr.flush()
            sys.stdout.write(example_request(self._settings, self._example_user) + "\n")
            sys.stdout.flush()


def example_request(settings: ServerSettings, user_id: str) -> str:
    """Return a line for the shell that asks the server for a feed."""
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"curl 'http://{host}:{settings.port}/post/recommendations/?id={user_id}&limit=5'"
