"""The routes that read the database: users, posts, their events, and the posts with most likes. Off without one."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import orjson
from flask import Blueprint, Response, request

from server.answers import json_answer
from server.keys import Guard
from server.parameters import MAX_LIMIT, canonical_id, read_arguments, read_limit
from server.settings import ServerSettings

if TYPE_CHECKING:
    from source.reader import Reader

_OFF = "this server is connected to no database: set DATABASE_URL to have users, posts and events by id"
_TOP_KEPT_S = 60.0


def reader_of(settings: ServerSettings) -> "Reader | None":
    """Return what reads the database that the settings name; None where they name none."""
    if settings.database_url is None:
        return None
    from source.reader import open_reader  # not at the top: SQLAlchemy is loaded only where it is wanted

    return open_reader(
        settings.database_url,
        settings.source,
        timeout_s=settings.database_timeout_s,
        connections=settings.threads,
    )


def database_routes(reader: "Reader | None", guard: Guard) -> Blueprint:
    """Return the routes; without a reader each is a 404 that says why."""
    routes = Blueprint("database", __name__)

    @routes.get("/user/<path:user_id>")
    @guard.needs("read")
    def user(user_id: str) -> Response:
        if reader is None:
            return _missing(_OFF)
        return _one(reader.user(_id_in(reader, "users", user_id)), f"there is no user {user_id}")

    @routes.get("/post/<path:post_id>")
    @guard.needs("read")
    def post(post_id: str) -> Response:
        if reader is None:
            return _missing(_OFF)
        return _one(reader.post(_id_in(reader, "posts", post_id)), f"there is no post {post_id}")

    @routes.get("/user/<path:user_id>/feed")
    @guard.needs("read")
    def events_of_user(user_id: str) -> Response:
        limit = read_limit(read_arguments(request.environ))
        if reader is None:
            return _missing(_OFF)
        return _many(reader.events("user_id", _id_in(reader, "users", user_id), limit))

    @routes.get("/post/<path:post_id>/feed")
    @guard.needs("read")
    def events_of_post(post_id: str) -> Response:
        limit = read_limit(read_arguments(request.environ))
        if reader is None:
            return _missing(_OFF)
        return _many(reader.events("post_id", _id_in(reader, "posts", post_id), limit))

    return routes


class TopPosts:
    """The posts with most likes, counted anew after a minute: that reads the whole log."""

    def __init__(
        self, reader: "Reader", blocked: Callable[[], frozenset[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._blocked = blocked
        self._clock = clock
        self._counting = threading.Lock()
        self._kept: tuple[float, list[dict[str, Any]] | None] = float("-inf"), None

    def answer(self, limit: int) -> Response:
        """Answer with up to `limit` of them, without those that are taken down."""
        blocked = self._blocked()
        posts = self._posts()
        return _many(None if posts is None else [post for post in posts if str(post["id"]) not in blocked][:limit])

    def _posts(self) -> list[dict[str, Any]] | None:
        with self._counting:  # whoever comes meanwhile waits for the one that counts
            counted_at, posts = self._kept
            if self._clock() - counted_at >= _TOP_KEPT_S:
                posts = self._reader.top_posts(2 * MAX_LIMIT)
                self._kept = self._clock(), posts
            return posts


def _id_in(reader: "Reader", kind: Literal["users", "posts"], given: str) -> str:
    """Return an id as the database has it; ParameterError for a text where ids are integers."""
    return canonical_id(given, "integer" if reader.id_type(kind) is int else "string")


def _one(row: dict[str, Any] | None, missing: str) -> Response:
    return _missing(missing) if row is None else _answer(row)


def _many(rows: list[dict[str, Any]] | None) -> Response:
    return _missing("the database has no table of these") if rows is None else _answer(rows)


def _answer(found: object) -> Response:
    body = orjson.dumps(found, option=orjson.OPT_UTC_Z)
    return Response(body, headers={"Cache-Control": "no-store"}, mimetype="application/json")


def _missing(reason: str) -> Response:
    return json_answer({"error": {"reason": reason}}, 404)
