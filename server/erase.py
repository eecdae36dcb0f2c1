"""DELETE /v1/users/{id} - erases a user: from Redis at once, from the batch's copies with its next run."""

import contextlib

from flask import Blueprint, Response
from redis import Redis

from server.answers import json_answer
from server.keys import Guard
from server.parameters import ID_TEXT, ParameterError, canonical_id
from slates.erase import erase_user
from slates.keys import Keys
from slates.lookup import Lookup, NoFeedError

_LEFT = [
    "the batch's event log and quarantine files: the next run clears them",
    "rows in the database: delete them there, or by `hourfeed erase --database`; until then a run finds them again",
]


def erase_routes(redis: Redis, keys: Keys, lookup: Lookup, guard: Guard) -> Blueprint:
    """Return the route."""
    routes = Blueprint("erase", __name__)

    @routes.delete("/v1/users/<path:user_id>")
    @guard.needs("admin")
    def erase(user_id: str) -> Response:
        if not 1 <= len(user_id) <= 200 or "\0" in user_id:
            raise ParameterError("id", user_id, ID_TEXT)
        with contextlib.suppress(NoFeedError):  # where nothing is live the id is taken as it comes
            user_id = canonical_id(user_id, lookup.manifest().user_id_type)
        removed = erase_user(redis, keys, user_id)
        return json_answer({"user_id": user_id, "removed": removed._asdict(), "left": _LEFT})

    return routes
