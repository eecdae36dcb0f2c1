"""GET /healthz and /readyz - for whatever restarts the process, and whatever sends it traffic."""

from datetime import UTC, datetime

from flask import Blueprint, Response, request

from server.answers import json_answer
from server.parameters import read_arguments, read_flag
from slates.freshness import freshness_of
from slates.lookup import Lookup, NoFeedError

RETRY_AFTER_S = 5


def health_routes(lookup: Lookup, fresh_for_h: float) -> Blueprint:
    """Return both routes; a generation is fresh while its as-of lies at most `fresh_for_h` hours back.

    `?degraded=ok` asks less: whether any feed can be answered.
    """
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return json_answer({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        may_be_degraded = read_flag(read_arguments(request.environ), "degraded")
        try:
            manifest = lookup.refresh()
        except NoFeedError as error:
            return _without_redis(lookup, str(error), may_be_degraded=may_be_degraded)
        freshness = freshness_of(manifest, datetime.now(UTC), fresh_for_h)
        known = {"generation": manifest.id, "age_s": int(freshness.age_s)}
        if not lookup.answers_strangers():
            reason = f"the popular slate of generation {manifest.id} is empty, so users without slates get no feed"
            return json_answer({"status": "unready", **known, "reason": reason}, 503, retry_after_s=RETRY_AFTER_S)
        if not freshness.is_fresh:
            reason = f"{freshness.why_stale}; does the batch still run?"
            return _worse({"status": "stale", **known, "reason": reason}, is_ok=may_be_degraded)
        return json_answer({"status": "ready", **known, "reason": ""})

    return routes


def _without_redis(lookup: Lookup, reason: str, *, may_be_degraded: bool) -> Response:
    """Say what can be answered all the same: popular posts, or nothing."""
    left = lookup.without_redis()
    if left is None:
        return _worse({"status": "unready", "generation": None, "age_s": None, "reason": reason}, is_ok=False)
    view, rung = left
    reason = f"{reason}; everybody gets popular posts, from {rung}"
    known = {"generation": view.manifest.id, "age_s": int((datetime.now(UTC) - view.manifest.as_of).total_seconds())}
    return _worse({"status": "degraded", **known, "reason": reason}, is_ok=may_be_degraded)


def _worse(body: object, *, is_ok: bool) -> Response:
    return json_answer(body) if is_ok else json_answer(body, 503, retry_after_s=RETRY_AFTER_S)
