"""/v1/users/{id}/feed, /v1/popular and /v1/posts/{id}/similar: posts with rank and reason, and where they are from."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from flask import Blueprint, Response, request

from server.answers import JSON, UNCACHED, Answer, json_answer
from server.keys import Guard
from server.parameters import canonical_id, check_id, read_arguments, read_limit, read_time, read_topic
from slates.arms import ArmsLookup
from slates.bucket import bucket_name, bucket_of
from slates.feed import Feed
from slates.lookup import Lookup, NoFeedError
from slates.manifest import IdType
from slates.posts import PostShelf

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

FEED_RULE = "/v1/users/<path:user_id>/feed"

_WHOLE_FEED = 1_000
"""More posts than a feed has: what a topic is picked from."""

_WHY_SLATE = {
    "exact": "ranked for this user and this hour",
    "same_hour": "ranked for this user, for the same hour of another day",
    "previous": "ranked for this user by the run before",
    "segment": "much touched by users like this one",
    "popular": "much touched by everybody",
    "memory": "much touched by everybody",
    "disk": "much touched by everybody",
}
"""Why a post of the slate is there, by rung."""


class UserFeeds:
    """Finds a user's feed, and writes it with rank and reason of each post."""

    def __init__(self, lookup: Lookup, arms: ArmsLookup, shelf: PostShelf[bytes], guard: Guard) -> None:
        self._lookup = lookup
        self._arms = arms
        self._shelf = shelf
        self._guard = guard

    def answer(self, environ: "WSGIEnvironment", user_id: str) -> Answer:
        """Answer a request; raise AccessError, ParameterError or NoFeedError, or what Redis raises."""
        self._guard.check("read", environ)
        arguments = read_arguments(environ)
        limit, moment, topic = read_limit(arguments), read_time(arguments, "at"), read_topic(arguments)
        kind = self._lookup.manifest().user_id_type
        user = canonical_id(check_id(user_id), kind)
        found, _, arm = self._arms.feed(user, bucket_of(moment), limit if topic is None else _WHOLE_FEED)
        about = {"user_id": _in_json(user, kind), "segment": found.segment} | ({"arm": arm} if arm else {})
        return _answer(self._shelf, found, limit, topic, about)


def feed_routes(feeds: UserFeeds, lookup: Lookup, shelf: PostShelf[bytes], guard: Guard) -> Blueprint:
    """Return the routes, answering from `feeds`, `lookup` and `shelf`."""
    routes = Blueprint("feeds", __name__)

    @routes.get(FEED_RULE)
    @guard.needs("read")
    def feed(user_id: str) -> Response:
        return feeds.answer(request.environ, user_id).response()

    @routes.get("/v1/popular")
    @guard.needs("read")
    def popular() -> Response:
        arguments = read_arguments(request.environ)
        limit, moment, topic = read_limit(arguments), read_time(arguments, "at"), read_topic(arguments)
        found = lookup.popular(bucket_of(moment), limit if topic is None else _WHOLE_FEED)
        return _answer(shelf, found, limit, topic, {}).response()

    @routes.get("/v1/posts/<path:post_id>/similar")
    @guard.needs("read")
    def similar(post_id: str) -> Response:
        limit = read_limit(read_arguments(request.environ))
        kind = lookup.manifest().post_id_type
        post = canonical_id(check_id(post_id), kind)
        found = lookup.similar(post, limit)
        if found is None:
            reason = f"generation {lookup.manifest().id} knows no post {post}, or it is taken down"
            return json_answer({"error": {"reason": reason}}, 404)
        items = (_item(rank, shown) for rank, shown in enumerate(shelf.pick(found.post_ids).values(), start=1))
        meta = {"post_id": _in_json(post, kind), **_age(found.generation, found.as_of)}
        return _body(items, meta).response()

    return routes


def _answer(shelf: PostShelf[bytes], found: Feed, limit: int, topic: str | None, more: Mapping[str, Any]) -> Answer:
    posts = shelf.take(found, limit if topic is None else _WHOLE_FEED)
    if found.post_ids and not posts:
        raise NoFeedError("the posts of this feed cannot be read: they are gone from Redis, or Redis is away")
    if topic is not None:
        chosen = [(post_id, shown) for post_id, shown in posts.items() if orjson.loads(shown)["topic"] == topic]
        posts = dict(chosen[:limit])
    meta = {
        **more,
        **_age(found.generation, found.as_of),
        "bucket": bucket_name(found.bucket),
        "rung": found.rung,
        "filled": len(posts.keys() - found.slate),
    }
    return _body(_items(found, posts), meta)


def _items(found: Feed, posts: Mapping[str, bytes]) -> Iterator[bytes]:
    for rank, (post_id, shown) in enumerate(posts.items(), start=1):
        source, why = reason_of(found, post_id)
        yield _item(rank, shown, source=source, why=why)


def reason_of(found: Feed, post_id: str) -> tuple[str, str]:
    """Return where a post of a feed is from, and why it is there, in words."""
    if post_id in found.slate:
        return "slate", _WHY_SLATE[found.rung]
    if post_id in found.segment_slate:
        return "segment", _WHY_SLATE["segment"]
    return "popular", _WHY_SLATE["popular"]


def _item(rank: int, shown: bytes, **more: str) -> bytes:
    """Write one item: its rank and reason, and the post as it was rendered."""
    return b"%b,%b" % (orjson.dumps({"rank": rank, **more})[:-1], shown[1:])


def _age(generation: str, as_of: datetime) -> dict[str, Any]:
    age_s = int((datetime.now(UTC) - as_of).total_seconds())
    return {"generation": generation, "as_of": as_of, "age_s": age_s}


def _body(items: Iterable[bytes], meta: Mapping[str, Any]) -> Answer:
    body = b'{"items":[%b],"meta":%b}' % (b",".join(items), orjson.dumps(meta, option=orjson.OPT_UTC_Z))
    return Answer([UNCACHED, JSON], body)


def _in_json(identifier: str, kind: IdType) -> int | str:
    return int(identifier) if kind == "integer" else identifier
