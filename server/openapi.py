"""The OpenAPI 3.1 document: what each route takes and answers. A test holds it against the routes that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server import models
from server.keys import Role
from server.parameters import DEFAULT_LIMIT, MAX_LIMIT

_REFERENCE = "#/components/schemas/{model}"
_ABOUT = """\
Personal feeds, computed ahead of time. Times are ISO 8601, in UTC where they have no offset. Ids are integers or texts,
as the database has them; percent-encode them in paths. Every refusal is JSON that says why.
"""


class ListOf(NamedTuple):
    """A list of what a model describes."""

    model: type[BaseModel]


class Either(NamedTuple):
    """One of two."""

    one: "Answer"
    other: "Answer"


Answer = type[BaseModel] | ListOf | Either

_ID_SCHEMA = {"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": 200}]}


def _path_id(name: str, example: object) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _ID_SCHEMA, "example": example}


def _query(name: str, what: str, schema: Mapping[str, Any], example: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": what, "schema": schema, "example": example}


_USER_ID, _POST_ID = _path_id("user_id", 1000), _path_id("post_id", 84)
_LIMIT = _query(
    "limit",
    "posts at most",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    5,
)
_TOPIC = _query("topic", "posts of this topic alone", {"type": "string", "minLength": 1, "maxLength": 200}, "politics")


def _time(name: str) -> dict[str, Any]:
    return _query(name, "the hour meant; now by default", {"type": "string"}, "2021-12-20T15:30:00Z")


@dataclass(frozen=True)
class Operation:
    """A route with a method. answers : by status; those that every guarded route may give are added."""

    method: str
    path: str
    name: str
    summary: str
    tag: str
    role: Role | None
    answers: Mapping[int, Answer]
    parameters: Sequence[Mapping[str, Any]] = field(default=())
    body: tuple[Answer, ...] = ()

    def all_answers(self) -> dict[int, Answer]:
        """Return the model of each status."""
        found: dict[int, Answer] = dict(self.answers)
        if self.role is not None:
            found |= dict.fromkeys((401, 403, 429, 503), models.Refusal)
        if self.body:
            found |= dict.fromkeys((413, 415), models.Refusal)
        if self.parameters or self.body:
            found.setdefault(422, models.BadParameter)
        if "{" in self.path:
            found.setdefault(404, models.Refusal)  # an empty id is another path
        return dict(sorted(found.items()))


_MISSING = {404: models.Refusal}

OPERATIONS = (
    Operation(
        "get",
        "/post/recommendations/",
        "recommendations",
        "A user's posts at a time; without `id` those with most likes, where a database is connected",
        "feeds",
        "read",
        {200: Either(ListOf(models.Post), models.Assigned), **_MISSING},
        (_query("id", "the user", _ID_SCHEMA, 1000), _time("time"), _LIMIT),
    ),
    Operation(
        "get",
        "/v1/users/{user_id}/feed",
        "feed",
        "A user's feed, with the reason for each post",
        "feeds",
        "read",
        {200: models.Feed},
        (_USER_ID, _time("at"), _LIMIT, _TOPIC),
    ),
    Operation(
        "get",
        "/v1/popular",
        "popular",
        "What everybody gets at a time",
        "feeds",
        "read",
        {200: models.Popular},
        (_time("at"), _LIMIT, _TOPIC),
    ),
    Operation(
        "get",
        "/v1/posts/{post_id}/similar",
        "similar",
        "The posts that are most like one",
        "feeds",
        "read",
        {200: models.Similar, **_MISSING},
        (_POST_ID, _LIMIT),
    ),
    Operation(
        "post",
        "/v1/events",
        "add_events",
        "Tell what users did: one event or a list; sent again it counts once",
        "events",
        "write",
        {202: models.EventsTaken, 422: models.BadItems},
        body=(models.NewEvent, ListOf(models.NewEvent)),
    ),
    Operation(
        "get",
        "/v1/blocked",
        "blocked",
        "The posts that are taken down",
        "administration",
        "admin",
        {200: models.Blocked},
    ),
    Operation(
        "post",
        "/v1/blocked",
        "block",
        "Take posts down: hidden from the next request on",
        "administration",
        "admin",
        {200: models.Changed},
        body=(models.ToBlock,),
    ),
    Operation(
        "delete",
        "/v1/blocked/{post_id}",
        "unblock",
        "Take a post back",
        "administration",
        "admin",
        {200: models.Changed},
        (_POST_ID,),
    ),
    Operation(
        "delete",
        "/v1/users/{user_id}",
        "erase",
        "Erase a user",
        "administration",
        "admin",
        {200: models.Erased},
        (_USER_ID,),
    ),
    Operation(
        "get",
        "/user/{user_id}",
        "user",
        "A user's profile, from the database",
        "database",
        "read",
        {200: models.User, **_MISSING},
        (_USER_ID,),
    ),
    Operation(
        "get",
        "/post/{post_id}",
        "post",
        "A post, from the database",
        "database",
        "read",
        {200: models.Post, **_MISSING},
        (_POST_ID,),
    ),
    Operation(
        "get",
        "/user/{user_id}/feed",
        "events_of_user",
        "A user's events, newest first, from the database",
        "database",
        "read",
        {200: ListOf(models.UserEvent), **_MISSING},
        (_USER_ID, _LIMIT),
    ),
    Operation(
        "get",
        "/post/{post_id}/feed",
        "events_of_post",
        "A post's events, newest first, from the database",
        "database",
        "read",
        {200: ListOf(models.UserEvent), **_MISSING},
        (_POST_ID, _LIMIT),
    ),
    Operation("get", "/healthz", "alive", "Whether the process answers", "health", None, {200: models.Alive}),
    Operation(
        "get",
        "/readyz",
        "ready",
        "Whether it should get traffic",
        "health",
        None,
        {200: models.Readiness, 503: models.Readiness},
        (_query("degraded", "200 as long as any feed can be answered", {"const": "ok"}, "ok"),),
    ),
)
"""Everything that the server answers but pages."""


def document(version: str) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hourfeed", "version": version, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`hourfeed key new`"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {
            str(status): {"description": HTTPStatus(status).phrase, "content": _content(answer)}
            for status, answer in operation.all_answers().items()
        },
    }
    if operation.role is not None:
        needed: list[dict[str, list[str]]] = [{"key": []}]
        described["security"] = [{}, *needed] if operation.role == "read" else needed
        described["description"] = f"Takes a key of the role `{operation.role}`" + (
            ", where the server has any." if operation.role == "read" else "."
        )
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        one, *others = map(_schema, operation.body)
        schema = {"anyOf": [one, *({**other, "minItems": 1, "maxItems": 1000} for other in others)]} if others else one
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _content(answer: Answer) -> dict[str, Any]:
    return {"application/json": {"schema": _schema(answer)}}


def _schema(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, ListOf):
        return {"type": "array", "items": _schema(answer.model)}
    if isinstance(answer, Either):
        return {"anyOf": [_schema(answer.one), _schema(answer.other)]}
    return {"$ref": _REFERENCE.format(model=answer.__name__)}


def models_of(answer: Answer) -> list[type[BaseModel]]:
    """Return the models that an answer may have."""
    if isinstance(answer, Either):
        return models_of(answer.one) + models_of(answer.other)
    return [answer.model if isinstance(answer, ListOf) else answer]


def _schemas() -> dict[str, Any]:
    """Return the schema of each model that an operation takes or answers, and of those within them."""
    used = [answer for operation in OPERATIONS for answer in (*operation.all_answers().values(), *operation.body)]
    ordered = sorted({model for answer in used for model in models_of(answer)}, key=lambda model: model.__name__)
    _, found = models_json_schema([(model, "serialization") for model in ordered], ref_template=_REFERENCE)
    schemas: dict[str, Any] = found["$defs"]
    return schemas
