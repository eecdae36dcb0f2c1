"""Sees every request from outside the framework: gives it an id, counts it, and logs it at level `info`."""

import logging
import random
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from server.headers import STRICT
from server.logs import REQUEST_ID
from server.metrics import Metrics

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from server.answers import Answer

NO_ROUTE = "none"
ROUTE = "hourfeed.route"
"""Where in `environ` an app that answers without Flask puts the rule of its route."""
RUNG = "hourfeed.rung"
"""Where in `environ` an answer that is a feed names the rung it was found at."""
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = logging.getLogger("hourfeed.requests")


class Observed:
    """A WSGI app around another one. What it adds to a request is a few microseconds, hooks of Flask would be more.

    `front` is asked first for each answer, which is sent as it is, with the headers that all answers have.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        metrics: Metrics,
        front: "Callable[[WSGIEnvironment], Answer | None] | None" = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._front = front
        self._logs = _log.isEnabledFor(logging.INFO)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer as the app does, with the header X-Request-Id."""
        begun = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _SANE_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        REQUEST_ID.set(request_id)  # a thread answers one request at a time, and the next one sets its own
        answer = None if self._front is None else self._front(environ)
        if answer is None:
            return self._by_app(environ, start_response, request_id, begun)
        length = str(len(answer.body))
        start_response("200 OK", [*answer.headers, ("Content-Length", length), *STRICT, ("X-Request-Id", request_id)])
        self._count(environ, environ[ROUTE], "200", begun)
        return [answer.body]

    def _by_app(
        self, environ: "WSGIEnvironment", start_response: "StartResponse", request_id: str, begun: float
    ) -> Iterable[bytes]:
        code, route = "500", NO_ROUTE

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            nonlocal code, route
            code, route = status[:3], _route_of(environ)
            headers.append(("X-Request-Id", request_id))
            return start_response(status, headers, *more)

        try:
            return self._app(environ, start)
        finally:
            self._count(environ, route, code, begun)

    def _count(self, environ: "WSGIEnvironment", route: str, code: str, begun: float) -> None:
        seconds, rung = time.perf_counter() - begun, environ.get(RUNG)
        self._metrics.answered(route, code, rung, seconds)
        if self._logs:
            method = environ["REQUEST_METHOD"] if route != NO_ROUTE else None
            about = {"route": route, "method": method, "status": int(code), "ms": round(1000 * seconds, 2)}
            _log.info("answered", extra={**about, "rung": rung})


def _route_of(environ: "WSGIEnvironment") -> str:
    """Return the rule that matched, never the path itself: that may hold ids of users, and has no end of values.

    Flask takes the request out of `environ` again once it is answered.
    """
    known = environ.get(ROUTE)
    if known is not None:
        return str(known)
    request = environ.get("werkzeug.request")
    rule = getattr(request, "url_rule", None)
    return rule.rule if rule is not None else NO_ROUTE
