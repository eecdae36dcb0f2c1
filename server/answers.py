"""Answers: JSON, never cached."""

import json
from typing import NamedTuple

import orjson
from flask import Response

JSON = ("Content-Type", "application/json")
UNCACHED = ("Cache-Control", "no-store")


class Answer(NamedTuple):
    """An answer with status 200 that the front and Flask send alike: all headers but Content-Length, and the body."""

    headers: list[tuple[str, str]]
    body: bytes

    def response(self) -> Response:
        """Return it as a view does."""
        return Response(self.body, headers=self.headers)


def json_answer(body: object, status: int = 200, *, retry_after_s: int | None = None) -> Response:
    """Return `body` as JSON; `json` of the standard library because it can write any string, lone surrogates too."""
    answer = Response(json.dumps(body), status, mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def as_json(value: object) -> str:
    """Return a value that came in as JSON as text again; what is nested deeper than that can be written is named so."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "nested too deeply"
