"""GET /healthz and /readyz - for whatever restarts the process, and whatever sends it traffic."""

from datetime import UTC, datetime

from flask import Blueprint, Response

from server.answers import json_answer
from slates.lookup import Lookup, NoFeedError

RETRY_AFTER_S = 5


def health_routes(lookup: Lookup, fresh_for_h: float) -> Blueprint:
    """Return both routes; a generation is fresh while its as-of lies at most `fresh_for_h` hours back."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return json_answer({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        try:
            manifest = lookup.refresh()
        except NoFeedError as error:
            body = {"status": "unready", "generation": None, "age_s": None, "reason": str(error)}
            return json_answer(body, 503, retry_after_s=RETRY_AFTER_S)
        age_s = int((datetime.now(UTC) - manifest.as_of).total_seconds())
        known = {"generation": manifest.id, "age_s": age_s}
        if not lookup.answers_strangers():
            reason = f"the popular slate of generation {manifest.id} is empty, so users without slates get no feed"
            return json_answer({"status": "unready", **known, "reason": reason}, 503, retry_after_s=RETRY_AFTER_S)
        if age_s > fresh_for_h * 3600:
            reason = (
                f"the live generation is {age_s / 3600:.1f} hours old, over {fresh_for_h:g}; does the batch still run?"
            )
            return json_answer({"status": "stale", **known, "reason": reason}, 503, retry_after_s=RETRY_AFTER_S)
        return json_answer({"status": "ready", **known, "reason": ""})

    return routes
