"""/v1/blocked - posts that are taken down: gone from every feed from the next request on."""

from typing import Any

import orjson
from flask import Blueprint, Response, request
from redis import Redis
from werkzeug.exceptions import UnsupportedMediaType

from server.answers import as_json, json_answer
from server.keys import Guard
from server.parameters import ID, ID_TEXT, ParameterError, canonical_id, check_id
from slates.blocked import block, read_blocked, unblock
from slates.client import REDIS_AWAY
from slates.keys import Keys
from slates.lookup import Lookup, NoFeedError
from slates.manifest import IdType

MOST = 1_000
_RETRY_AFTER_S = 2
_BODY = f'JSON: {{"post_ids": […]}} with 1 to {MOST:,} ids, and nothing else'


def blocking_routes(redis: Redis, keys: Keys, lookup: Lookup, guard: Guard) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("blocking", __name__)

    @routes.get("/v1/blocked")
    @guard.needs("admin")
    def listed() -> Response:
        kind = _kind(lookup)
        ids = sorted(read_blocked(redis, keys))
        return json_answer({"post_ids": [_shown(post_id, kind) for post_id in ids]})

    @routes.post("/v1/blocked")
    @guard.needs("admin")
    def take_down() -> Response:
        if not request.is_json:
            raise UnsupportedMediaType
        return json_answer({"changed": block(redis, keys, _ids(request.get_data(), _kind(lookup)))})

    @routes.delete("/v1/blocked/<path:post_id>")
    @guard.needs("admin")
    def take_back(post_id: str) -> Response:
        return json_answer({"changed": unblock(redis, keys, [canonical_id(check_id(post_id), _kind(lookup))])})

    @routes.errorhandler(REDIS_AWAY[0])
    @routes.errorhandler(REDIS_AWAY[1])
    def away(_: Exception) -> Response:
        return json_answer({"error": {"reason": "Redis is away"}}, 503, retry_after_s=_RETRY_AFTER_S)

    return routes


def _kind(lookup: Lookup) -> IdType:
    """Return the form of posts' ids; where nothing is live yet any text will do."""
    try:
        return lookup.manifest().post_id_type
    except NoFeedError:
        return "string"


def _ids(body: bytes, kind: IdType) -> list[str]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ParameterError("body", body.decode("utf-8", "replace"), _BODY) from error
    given = content["post_ids"] if isinstance(content, dict) and content.keys() == {"post_ids"} else None
    if not isinstance(given, list) or not 1 <= len(given) <= MOST:
        raise ParameterError("body", body.decode("utf-8", "replace"), _BODY)
    return [_id(value, kind) for value in given]


def _id(value: Any, kind: IdType) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ParameterError("post_ids", as_json(value), ID if kind == "integer" else ID_TEXT)
    return canonical_id(check_id(value), kind)


def _shown(post_id: str, kind: IdType) -> int | str:
    """Return an id as JSON has it; one that was taken down while ids had another form stays text."""
    try:
        return int(canonical_id(post_id, "integer")) if kind == "integer" else post_id
    except ParameterError:
        return post_id
