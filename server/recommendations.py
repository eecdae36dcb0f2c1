"""GET /post/recommendations/ - a user's feed at a time."""

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from flask import Blueprint, Response, request

from server.answers import JSON, UNCACHED, Answer
from server.database import TopPosts
from server.keys import Guard
from server.observe import RUNG
from server.parameters import canonical_id, read_arguments, read_id, read_limit, read_time
from slates.arms import ArmsLookup
from slates.bucket import bucket_name, bucket_of
from slates.experiment import CONTROL
from slates.exposure import Exposure, ExposureLog
from slates.feed import Feed
from slates.lookup import Lookup, NoFeedError
from slates.manifest import Manifest
from slates.posts import PostShelf

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

RULE = "/post/recommendations/"

_JSON_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def render_post(manifest: Manifest, post_id: str, text: str, topic: str) -> bytes:
    """Write a post as JSON; an integer id is written digit by digit, so that it stays exact at any size."""
    is_integer = manifest.post_id_type == "integer" and _JSON_INTEGER.fullmatch(post_id)
    identifier = (post_id if is_integer else json.dumps(post_id)).encode()
    return b'{"id":%b,"text":%b,"topic":%b}' % (identifier, orjson.dumps(text), orjson.dumps(topic))


class Recommendations:
    """Finds a user's feed at a time, and writes it."""

    def __init__(
        self, lookup: Lookup, arms: ArmsLookup, exposures: ExposureLog, shelf: PostShelf[bytes], guard: Guard
    ) -> None:
        self._lookup = lookup
        self._arms = arms
        self._exposures = exposures
        self._shelf = shelf
        self._guard = guard

    def answer(self, environ: "WSGIEnvironment") -> Answer:
        """Answer a request; raise AccessError, ParameterError or NoFeedError, or what Redis raises."""
        self._guard.check("read", environ)
        arguments = read_arguments(environ)
        limit, moment = read_limit(arguments), read_time(arguments)
        user_id = canonical_id(read_id(arguments), self._lookup.manifest().user_id_type)
        feed, experiment, arm = self._arms.feed(user_id, bucket_of(moment), limit)
        posts = self._shelf.take(feed, limit)
        if feed.post_ids and not posts:
            raise NoFeedError("the posts of this feed cannot be read: they are gone from Redis, or Redis is away")
        headers = _headers(feed, len(posts.keys() - feed.slate))
        body = b"[%b]" % b",".join(posts.values())
        if experiment is not None and not experiment.is_canary:
            if arm is not None:
                shown = tuple(posts)
                exposure = Exposure(datetime.now(UTC), experiment.name, arm, user_id, feed.generation, shown)
                self._exposures.note(exposure)
            body = b'{"exp_group":"%b","recommendations":%b}' % ((arm or CONTROL).encode(), body)
        environ[RUNG] = feed.rung
        return Answer(headers, body)


def recommendation_routes(recommendations: Recommendations, guard: Guard, top: TopPosts | None = None) -> Blueprint:
    """Return the route; without an `id` it answers from `top`, where there is a database."""
    routes = Blueprint("recommendations", __name__)

    @routes.get(RULE)
    @guard.needs("read")
    def recommend() -> Response:
        if top is not None:
            arguments = read_arguments(request.environ)
            if "id" not in arguments:
                limit, _ = read_limit(arguments), read_time(arguments)
                return top.answer(limit)
        return recommendations.answer(request.environ).response()

    return routes


def _headers(feed: Feed, n_filled: int) -> list[tuple[str, str]]:
    return [
        ("X-Hourfeed-Rung", feed.rung),
        ("X-Hourfeed-Bucket", bucket_name(feed.bucket)),
        ("X-Hourfeed-Generation", feed.generation),
        ("X-Hourfeed-Age", str(int((datetime.now(UTC) - feed.as_of).total_seconds()))),
        UNCACHED,
        ("X-Hourfeed-Filled", str(n_filled)),
        JSON,
    ]
