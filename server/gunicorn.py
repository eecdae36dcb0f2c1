"""Configuration of gunicorn: `gunicorn --config server/gunicorn.py 'server.app:create_app()'`.

Where to listen and how many workers and threads are settings: HOURFEED_HOST, HOURFEED_PORT or PORT, HOURFEED_WORKERS,
HOURFEED_THREADS. A platform that sets PORT and connects from outside needs HOURFEED_HOST=0.0.0.0 too.
"""

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from server.app import LOOKUP, WARM
from server.counting import forget_worker, make_folder, remove_folder
from server.keys import what_anyone_may
from server.logs import logging_options
from server.settings import ServerSettings
from slates.client import RedisError
from slates.errors import SlatesError
from slates.lookup import Lookup

if TYPE_CHECKING:
    from server.warm import WarmKeeper

REFRESH_S = 2.0


class Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger without its access log, which it would compose for every request and then throw away.

    Ours is written by server.observe.
    """

    @property
    def access_log_enabled(self) -> bool:
        """Say no."""
        return False


AWAY_S = 0.5
"""Between two tries while Redis is away: this thread tries for all requests of its worker."""

_log = logging.getLogger(__name__)


def options(settings: ServerSettings) -> dict[str, Any]:
    """Return gunicorn's settings by name."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": [f"{host}:{settings.port}"],
        "workers": settings.workers,
        "worker_class": "gthread",
        "threads": settings.threads,
        "preload_app": False,  # each worker connects to Redis by itself
        "keepalive": 5,
        "timeout": 30,
        "graceful_timeout": 10,
        "limit_request_line": 4094,
        "limit_request_fields": 50,
        "limit_request_field_size": 4096,
        "accesslog": None,
        "control_socket_disable": True,  # it would lie in the home folder, one for all servers
        "loglevel": settings.log_level,
        "logger_class": Log,
        "logconfig_dict": logging_options(settings.log_level),
        "on_starting": make_folder,
        "when_ready": lambda server: _tell_what_anyone_may(settings, server),
        "on_exit": remove_folder,
        "child_exit": forget_worker,
        "post_worker_init": start_refreshing,
    }


def _tell_what_anyone_may(settings: ServerSettings, server: Any) -> None:
    for warning in what_anyone_may(settings):
        server.log.warning(warning)


def start_refreshing(worker: Any) -> None:
    """Let a worker look at the live generation by itself: it has popular slates, and keeps them on disk, in time."""
    extensions = worker.wsgi.extensions
    arguments = extensions[LOOKUP], extensions[WARM]
    threading.Thread(target=_keep_refreshing, args=arguments, name="refresh", daemon=True).start()


def _keep_refreshing(lookup: Lookup, warm: "WarmKeeper | None") -> None:
    while True:
        pause_s = REFRESH_S
        try:
            view = lookup.watch()
            if warm is not None and view is not None:
                warm.keep(view)
        except (SlatesError, RedisError) as error:
            pause_s = AWAY_S
            _log.debug("no refresh: %s", error)
        time.sleep(pause_s)


if __name__ == "__config__":  # the name under which gunicorn runs its configuration file
    globals().update(options(ServerSettings()))
