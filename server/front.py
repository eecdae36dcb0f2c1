"""The front: answers what is asked most without the framework, by the functions that the framework's routes call too.

It answers only what is plain: a GET of a feed for which a 200 was found. Everything else (other paths, errors, a user
whose id needs unescaping, a strange Host) is left untouched to Flask, which finds the same again and answers it.
"""

import re
from typing import TYPE_CHECKING

from server.feeds import FEED_RULE, UserFeeds
from server.observe import ROUTE
from server.recommendations import RULE, Recommendations

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from server.answers import Answer

_RECOMMENDATIONS = {RULE, RULE.rstrip("/")}
_FEED = re.compile(r"/v1/users/([A-Za-z0-9._~-]+)/feed")
_HOST = re.compile(r"(?=.{0,63}\Z)(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]+)?)?")
"""A name that is no business of IDNA: for others Flask may have a 400."""


class Front:
    """Finds the answers to plain requests."""

    def __init__(self, recommendations: Recommendations, feeds: UserFeeds) -> None:
        self._recommendations = recommendations
        self._feeds = feeds

    def answer(self, environ: "WSGIEnvironment") -> "Answer | None":
        """Return the answer to a request, and name its route in `environ`; None for what is Flask's."""
        if not _is_plain(environ):
            return None
        path = environ["PATH_INFO"]
        try:
            if path in _RECOMMENDATIONS:
                environ[ROUTE] = RULE
                return self._recommendations.answer(environ)
            named = _FEED.fullmatch(path)
            if named is not None:
                environ[ROUTE] = FEED_RULE
                return self._feeds.answer(environ, named[1])
        except Exception:  # noqa: BLE001 - Flask meets it again, and has the handlers that say and log what it is
            del environ[ROUTE]
        return None


def _is_plain(environ: "WSGIEnvironment") -> bool:
    return (
        environ["REQUEST_METHOD"] == "GET"
        and "HTTP_UPGRADE" not in environ
        and _HOST.fullmatch(environ.get("HTTP_HOST", "")) is not None
    )
