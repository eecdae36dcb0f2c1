"""POST /v1/events - what users did: off their feeds from the next request on, and into the database by the drain."""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from flask import Blueprint, Response, request
from redis import Redis
from werkzeug.exceptions import UnsupportedMediaType

from server.answers import as_json, json_answer
from server.keys import Guard
from server.parameters import ID, ID_TEXT, TIME, ParameterError, canonical_id, parse_time
from slates.client import REDIS_AWAY
from slates.event import Event
from slates.event_stream import StreamFullError, add_events
from slates.keys import Keys
from slates.lookup import Lookup, NoFeedError
from slates.manifest import IdType
from slates.seen import note_seen

MOST_EVENTS = 1_000
RETRY_AFTER_S = 2
_EVENT_ID = "one text of 1 to 100 characters, another one for every event"
_AHEAD = timedelta(minutes=5)
_LISTED = 100
_KNOWN = {"event_id", "user_id", "post_id", "action", "time"}


@dataclass(frozen=True)
class EventRules:
    """Which actions there are, which of them hide the post from the user, for how long, and how many events may wait.

    hides_for_s : longer than until a batch has published what it knows of the event.
    """

    actions: Collection[str]
    hiding: Collection[str]
    hides_for_s: int
    most_waiting: int


def event_routes(redis: Redis, keys: Keys, lookup: Lookup, guard: Guard, rules: EventRules) -> Blueprint:
    """Return the route."""
    routes = Blueprint("events", __name__)

    @routes.post("/v1/events")
    @guard.needs("write")
    def events() -> Response:
        if not request.is_json:
            raise UnsupportedMediaType
        found, errors = _read(request.get_data(), rules, _id_types(lookup))
        if errors:
            return json_answer({"error": {"items": errors[:_LISTED], "count": len(errors)}}, 422)
        try:
            new = add_events(redis, keys, found, rules.most_waiting)
            # After the stream: whoever gets no answer sends the events again, and then they are noted once more.
            hidden = [(event.user_id, event.post_id) for event in found if event.action in rules.hiding]
            if hidden:
                note_seen(redis, keys, hidden, int(time.time()), rules.hides_for_s)
        except StreamFullError as error:
            return _later(f"the events were not taken in: {error}")
        except REDIS_AWAY:
            return _later("Redis is away; send the same events again, those that are known by their id count once")
        return json_answer({"accepted": new, "known": len(found) - new}, 202)

    return routes


def _later(reason: str) -> Response:
    return json_answer({"error": {"reason": reason}}, 503, retry_after_s=RETRY_AFTER_S)


def _id_types(lookup: Lookup) -> tuple[IdType, IdType]:
    """Return the forms of the ids of users and of posts; where nothing is live yet any text will do."""
    try:
        manifest = lookup.manifest()
    except NoFeedError:
        return "string", "string"
    return manifest.user_id_type, manifest.post_id_type


def _read(
    body: bytes, rules: EventRules, id_types: tuple[IdType, IdType]
) -> tuple[list[Event], list[dict[str, object]]]:
    """Return the events of a body, and what is wrong with it, item by item."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [], [_wrong(None, "body", body[:100].decode("utf-8", "replace"), "JSON: an event, or a list of events")]
    items = content if isinstance(content, list) else [content]
    if not 1 <= len(items) <= MOST_EVENTS:
        return [], [_wrong(None, "body", f"{len(items)} events", f"1 to {MOST_EVENTS:,} events in one request")]
    reader = _Reader(rules, id_types, datetime.now(UTC))
    errors = [_wrong(place, *error) for place, item in enumerate(items) for error in reader.errors(item)]
    return ([] if errors else [reader.event(item) for item in items]), errors


def _wrong(index: int | None, field: str, value: object, allowed: str) -> dict[str, object]:
    shown = value if isinstance(value, str) or value is None else as_json(value)
    return {"index": index, "field": field[:100], "value": None if shown is None else shown[:100], "allowed": allowed}


class _Reader:
    """Reads events that came in at `now`."""

    def __init__(self, rules: EventRules, id_types: tuple[IdType, IdType], now: datetime) -> None:
        self._rules = rules
        self._id_types = id_types
        self._now = now

    def errors(self, item: Any) -> Iterator[tuple[str, object, str]]:
        """Give the fields of an item that cannot be used, each with its value and what is allowed."""
        if not isinstance(item, dict):
            yield "event", item, f"an object with {', '.join(sorted(_KNOWN))}"
            return
        for name in item.keys() - _KNOWN:
            yield name, item[name], f"no such field; there are {', '.join(sorted(_KNOWN))}"
        if not _is_text(item.get("event_id"), 100):
            yield "event_id", item.get("event_id"), _EVENT_ID
        for name, kind in zip(("user_id", "post_id"), self._id_types, strict=True):
            if _id_of(item.get(name), kind) is None:
                yield name, item.get(name), ID if kind == "integer" else ID_TEXT
        if item.get("action") not in tuple(self._rules.actions):
            yield "action", item.get("action"), f"one of {', '.join(self._rules.actions)}"
        if self._moment(item) is None:
            yield "time", item.get("time"), f"{TIME}; from 1970 on, and at most 5 minutes ahead"

    def event(self, item: Mapping[str, Any]) -> Event:
        """Return an item without errors as an event."""
        user_id, post_id = (
            _id_of(item[name], kind) or "" for name, kind in zip(("user_id", "post_id"), self._id_types, strict=True)
        )
        return Event(item["event_id"], user_id, post_id, item["action"], self._moment(item) or self._now)

    def _moment(self, item: Mapping[str, Any]) -> datetime | None:
        text = item.get("time")
        if text is None:
            return self._now
        try:
            moment = parse_time(text) if isinstance(text, str) else None
        except ParameterError:
            return None
        is_past = moment is not None and datetime(1970, 1, 1, tzinfo=UTC) <= moment <= self._now + _AHEAD
        return moment if is_past else None


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest and "\0" not in value


def _id_of(value: object, kind: IdType) -> str | None:
    """Return an id as the batch writes it; None where it is none of that kind."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _is_text(text, 200):
        return None
    try:
        return canonical_id(text, kind)
    except ParameterError:
        return None
