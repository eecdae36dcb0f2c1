"""GET /post/recommendations/ - a user's feed at a time."""

import json
import re
from datetime import UTC, datetime

import orjson
from flask import Blueprint, Response, request

from server.database import TopPosts
from server.keys import Guard
from server.parameters import canonical_id, read_arguments, read_id, read_limit, read_time
from slates.arms import ArmsLookup
from slates.bucket import bucket_name, bucket_of
from slates.experiment import CONTROL
from slates.exposure import Exposure, ExposureLog
from slates.feed import Feed
from slates.lookup import Lookup, NoFeedError
from slates.manifest import Manifest
from slates.posts import PostShelf

_JSON_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def render_post(manifest: Manifest, post_id: str, text: str, topic: str) -> bytes:
    """Write a post as JSON; an integer id is written digit by digit, so that it stays exact at any size."""
    is_integer = manifest.post_id_type == "integer" and _JSON_INTEGER.fullmatch(post_id)
    identifier = (post_id if is_integer else json.dumps(post_id)).encode()
    return b'{"id":%b,"text":%b,"topic":%b}' % (identifier, orjson.dumps(text), orjson.dumps(topic))


def recommendation_routes(
    lookup: Lookup,
    arms: ArmsLookup,
    exposures: ExposureLog,
    shelf: PostShelf[bytes],
    guard: Guard,
    top: TopPosts | None = None,
) -> Blueprint:
    """Return the route, answering from `arms` and `shelf`; without an `id` from `top`, where there is a database."""
    routes = Blueprint("recommendations", __name__)

    @routes.get("/post/recommendations/")
    @guard.needs("read")
    def recommendations() -> Response:
        arguments = read_arguments(request)
        limit, moment = read_limit(arguments), read_time(arguments)
        if top is not None and "id" not in arguments:
            return top.answer(limit)
        given_id = read_id(arguments)
        user_id = canonical_id(given_id, lookup.manifest().user_id_type)
        feed, experiment, arm = arms.feed(user_id, bucket_of(moment), limit)
        posts = shelf.take(feed, limit)
        if feed.post_ids and not posts:
            raise NoFeedError("the posts of this feed cannot be read: they are gone from Redis, or Redis is away")
        headers = _headers(feed) | {"X-Hourfeed-Filled": str(len(posts.keys() - feed.slate))}
        body = b"[%b]" % b",".join(posts.values())
        if experiment is not None and not experiment.is_canary:
            if arm is not None:
                shown = tuple(posts)
                exposures.note(Exposure(datetime.now(UTC), experiment.name, arm, user_id, feed.generation, shown))
            body = b'{"exp_group":"%b","recommendations":%b}' % ((arm or CONTROL).encode(), body)
        return Response(body, headers=headers, mimetype="application/json")

    return routes


def _headers(feed: Feed) -> dict[str, str]:
    return {
        "X-Hourfeed-Rung": feed.rung,
        "X-Hourfeed-Bucket": bucket_name(feed.bucket),
        "X-Hourfeed-Generation": feed.generation,
        "X-Hourfeed-Age": str(int((datetime.now(UTC) - feed.as_of).total_seconds())),
        "Cache-Control": "no-store",
    }
