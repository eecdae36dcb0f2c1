"""Headers for browsers: what an answer may do there (always), and which other sites may read it (CORS, if set)."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_POLICY = "Content-Security-Policy"
_ALWAYS = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
STRICT = [*_ALWAYS, (_POLICY, "default-src 'none'; frame-ancestors 'none'")]
"""For answers that are no pages; a page brings a policy of its own."""

_METHODS = "GET, POST, DELETE"
_ASKED = "Authorization, Content-Type"
_SHOWN = "Retry-After, X-Hourfeed-Age, X-Hourfeed-Bucket, X-Hourfeed-Filled, X-Hourfeed-Generation, X-Hourfeed-Rung"
_KEPT_S = 600


class SecurityHeaders:
    """Adds them below the framework, so that no answer lacks them, at less cost than an after-request hook."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer as the app does, with the headers."""

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers += _ALWAYS if _POLICY in dict(headers) else STRICT
            return start_response(status, headers, *more)

        return self._app(environ, start)


def allow_origins(app: Flask, origins: Collection[str]) -> None:
    """Let pages of these origins (`https://app.example.org`; `*` for all) read answers, keys in headers included."""

    @app.after_request
    def share(answer: Response) -> Response:
        answer.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin is None or not (origin in origins or "*" in origins):
            return answer
        answer.headers["Access-Control-Allow-Origin"] = origin if origin in origins else "*"
        if request.method == "OPTIONS":
            answer.headers["Access-Control-Allow-Methods"] = _METHODS
            answer.headers["Access-Control-Allow-Headers"] = _ASKED
            answer.headers["Access-Control-Max-Age"] = str(_KEPT_S)
        else:
            answer.headers["Access-Control-Expose-Headers"] = _SHOWN
        return answer
