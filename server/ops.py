"""/ops - the operations page: what is live, how runs went, what a user sees, and buttons to block and to roll back."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, redirect, render_template, request, url_for
from redis import Redis
from werkzeug.exceptions import Forbidden

from charts import STYLE
from server.feeds import reason_of
from server.keys import Guard
from server.metrics import Metrics
from server.ops_charts import bucket_strips, hitrate_chart, rungs_chart, stages_chart
from server.ops_session import Visitor
from server.parameters import ParameterError, canonical_id, check_id
from slates.blocked import block, read_blocked, unblock
from slates.bucket import bucket_name, bucket_of, parse_bucket
from slates.client import REDIS_AWAY, RedisError
from slates.errors import SlatesError
from slates.freshness import freshness_of
from slates.generations import list_generations, rollback
from slates.guarded import guard_values, guards_line
from slates.keys import Keys
from slates.lookup import Lookup, NoFeedError
from slates.manifest import Manifest
from slates.posts import PostShelf
from slates.verdict import verdict_line

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
_RUNS = 10
_IN_ROW, _IN_HOUR = 5, 10
"""Posts of an hour in the table of the day, and in the list of the hour that is chosen."""
_SAID = {
    "blocked": "The post is taken down: gone from every feed from the next request on.",
    "unblocked": "The post is back.",
    "rolled-back": "The generation is live again.",
    "signed-in": "Signed in.",
    "signed-out": "Signed out.",
    "unknown-key": "This key is not known.",
    "failed": "Nothing was changed: that generation cannot be served any more, or Redis refused.",
}


class OpsPage:
    """What the page is made from."""

    def __init__(
        self, redis: Redis, keys: Keys, lookup: Lookup, shelf: PostShelf[bytes], guard: Guard, metrics: Metrics
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._lookup = lookup
        self._shelf = shelf
        self._guard = guard
        self._metrics = metrics

    def visitor(self) -> Visitor:
        """Return who asks."""
        return Visitor(self._redis, self._keys, self._guard)

    def facts(self, fresh_for_h: float) -> dict[str, Any]:
        """Return what is to be told of generations and feeds; where Redis is away, that."""
        try:
            live = self._lookup.refresh()
            runs = list_generations(self._redis, self._keys)[:_RUNS]
            blocked = sorted(read_blocked(self._redis, self._keys))
        except NoFeedError as error:
            return {"problem": str(error), "live": None}
        except RedisError:
            return {"problem": "Redis is away", "live": None}
        freshness = freshness_of(live, datetime.now(UTC), fresh_for_h)
        return {
            "live": live,
            "age_h": freshness.age_s / 3600,
            "is_fresh": freshness.is_fresh,
            "fresh_for_h": fresh_for_h,
            "hours_left": math.ceil(freshness.hours_left),
            "guards": guard_values(live),
            "guards_line": guards_line(live),
            "verdict": verdict_line(live.gate),
            "runs": runs,
            "blocked": blocked,
            "stages": stages_chart([run for run in runs if run.seconds]),
            "hitrate": hitrate_chart(runs),
            "rungs": rungs_chart(self._metrics.feeds_by_rung()),
            "strips": bucket_strips(live),
        }

    def day_of(self, live: Manifest, given: str, hour: str) -> dict[str, Any]:
        """Return a user's feeds in all buckets of the live generation, and the posts of the hour that is chosen.

        Raises ParameterError where the user's id cannot be one.
        """
        user_id = canonical_id(check_id(given), live.user_id_type)
        buckets = range(live.first_bucket, live.last_bucket + 1)
        chosen = _chosen(hour, buckets)
        rows = []
        for bucket in buckets:
            feed = self._lookup.feed(user_id, bucket, _IN_HOUR)
            posts = [_post(shown) for shown in self._shelf.take(feed, _IN_HOUR).values()]
            row = {"name": bucket_name(bucket), "rung": feed.rung, "posts": posts[:_IN_ROW]}
            rows.append(row)
            if bucket == chosen:
                whys = [reason_of(feed, str(post["id"]))[1] for post in posts]
                detail = {**row, "posts": list(zip(posts, whys, strict=True)), "segment": feed.segment}
        return {"user": user_id, "rows": rows, "detail": detail}

    def act(self, what: str, subject: str) -> str:
        """Block, unblock or roll back; return the key of what to say of it."""
        try:
            if what == "rollback":
                rollback(self._redis, self._keys, subject)
                self._lookup.refresh()
                return "rolled-back"
            post_id = canonical_id(check_id(subject), self._lookup.manifest().post_id_type)
            (block if what == "block" else unblock)(self._redis, self._keys, [post_id])
        except (SlatesError, *REDIS_AWAY):
            return "failed"
        return "blocked" if what == "block" else "unblocked"


def ops_routes(page: OpsPage, fresh_for_h: float) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("ops", __name__, template_folder="templates", url_prefix="/ops")
    own_style = (STYLE + _read_style()).encode()

    @routes.get("")
    def show() -> Response:
        visitor = page.visitor()
        shown: dict[str, Any] = {"visitor": visitor, "said": _SAID.get(request.args.get("said", ""), ""), "wrong": ""}
        status = 200
        if visitor.may("read"):
            asked = request.args.get("user", "")
            shown |= page.facts(fresh_for_h) | {"asked": asked, "day": None}
            if shown["live"] and asked:
                shown["day"], shown["wrong"], status = _day(page, shown["live"], asked)
        return visitor.remember(Response(render_template("ops.html", **shown), status, _HEADERS))

    @routes.get("/style.css")
    def style() -> Response:
        return Response(own_style, mimetype="text/css", headers={"Cache-Control": "max-age=300"})

    @routes.post("/sign-in")
    def sign_in() -> Response:
        visitor = _own_form(page)
        known = visitor.sign_in(request.form.get("key", "").strip())
        return visitor.remember(_back("signed-in" if known else "unknown-key"))

    @routes.post("/sign-out")
    def sign_out() -> Response:
        visitor = _own_form(page)
        visitor.sign_out()
        return visitor.remember(_back("signed-out"))

    @routes.post("/<any(block, unblock, rollback):what>")
    def act(what: str) -> Response:
        visitor = _own_form(page)
        if not visitor.may("admin"):
            raise Forbidden
        return _back(page.act(what, request.form.get("subject", "")))

    return routes


def _day(page: OpsPage, live: Manifest, asked: str) -> tuple[dict[str, Any] | None, str, int]:
    """Return a user's day, or what is wrong, and the status."""
    try:
        return page.day_of(live, asked, request.args.get("hour", "")), "", 200
    except ParameterError as error:
        return None, f"{asked[:50]!r} is no id of a user: it is {error.allowed}.", 422
    except (NoFeedError, RedisError) as error:
        return None, f"This feed cannot be shown: {error}.", 503


def _own_form(page: OpsPage) -> Visitor:
    visitor = page.visitor()
    if not visitor.sent_this_form():
        raise Forbidden
    return visitor


def _back(said: str) -> Response:
    """Send the browser back to where it was, so that a reload does nothing again."""
    where: dict[str, Any] = {name: request.form[name] for name in ("user", "hour") if request.form.get(name)}
    return redirect(url_for("ops.show", said=said, **where), 303)  # type: ignore[return-value]


def _chosen(hour: str, buckets: range) -> int:
    """Return the bucket that was asked for, else that of now, else the first one."""
    now = bucket_of(datetime.now(UTC))
    try:
        asked = parse_bucket(hour) if hour else now
    except SlatesError:
        asked = now
    return asked if asked in buckets else buckets[0]


def _post(shown: bytes) -> dict[str, Any]:
    post: dict[str, Any] = orjson.loads(shown)
    return post


def _read_style() -> str:
    return (Path(__file__).parent / "static" / "ops.css").read_text(encoding="utf-8")
