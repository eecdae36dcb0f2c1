"""The parameters of a request, read strictly: what is not understood is a 422 that says what would be."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from dateutil.parser import isoparse
from werkzeug.wrappers import Request

from slates.manifest import IdType

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


class Arguments(Protocol):
    """The parameters of a query string, each with all values that were given."""

    def getlist(self, key: str, /) -> list[str]:
        """Return the values of a parameter, in order; none where it is absent."""

    def __contains__(self, key: object, /) -> bool:
        """Say whether a parameter is there."""


class _Plain(dict[str, list[str]]):
    """Parameters without anything to unescape."""

    def getlist(self, key: str, /) -> list[str]:
        return self.get(key, [])


ID = "one integer of 64 bits"
ID_TEXT = "one text of 1 to 200 characters"
TIME = "one ISO 8601 time, like 2021-12-20T15:30:00Z; UTC where it has no offset"
LIMIT = "an integer from 1 to 100"
TOPIC = "one text of 1 to 200 characters"
FLAG = "ok, or nothing"

MAX_LIMIT = 100
DEFAULT_LIMIT = 10
_MAX_ID_LENGTH = 200
_MAX_TIME_LENGTH = 64
_SHOWN_LENGTH = 100

_PLAIN_QUERY = re.compile(r"[A-Za-z0-9_.:-]+=[A-Za-z0-9_.:-]*(?:&[A-Za-z0-9_.:-]+=[A-Za-z0-9_.:-]*)*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_TIME = re.compile(
    r"(?P<date>[0-9][0-9Ww-]*)"
    r"(?:[Tt ](?P<time>[0-9][0-9:.,]*) ?(?P<offset>[Zz]|[ +-][0-9][0-9:]*)?)?"  # a space: `+` in a query string
)


class ParameterError(Exception):
    """A parameter cannot be used; `value` is None where it is missing."""

    def __init__(self, field: str, value: str | None, allowed: str) -> None:
        super().__init__(f"{field} = {value!r}: allowed is {allowed}")
        self.field = field
        self.value = None if value is None else value[:_SHOWN_LENGTH]
        self.allowed = allowed


def read_arguments(environ: "WSGIEnvironment") -> Arguments:
    """Return the parameters of the query string; bytes in it that are no UTF-8 are refused."""
    query = environ.get("QUERY_STRING", "")
    if _PLAIN_QUERY.fullmatch(query):  # nothing to unescape: splitting is all there is to do, and ten times as fast
        found = _Plain()
        for part in query.split("&"):
            name, _, value = part.partition("=")
            found.setdefault(name, []).append(value)
        return found
    request = Request(environ)
    try:
        return request.args
    except UnicodeDecodeError as error:
        shown = request.query_string.decode("latin-1")
        raise ParameterError("query string", shown, "UTF-8, percent-encoded") from error


def read_id(arguments: Arguments) -> str:
    """Return the parameter `id` as it came; `canonical_id` makes a user id of it."""
    return check_id(_only(arguments, "id", ID_TEXT))


def check_id(text: str | None) -> str:
    """Return an id as it came, of a path or a body; refuse one that is too long, or none."""
    if text is None or not 1 <= len(text) <= _MAX_ID_LENGTH:
        raise ParameterError("id", text, ID_TEXT)
    return text


def canonical_id(text: str, kind: IdType) -> str:
    """Return an id as the batch writes it: integers without sign, zeros or space in front, UUIDs in lower case."""
    if kind == "string":
        return text
    if kind == "uuid":
        return text.lower() if _UUID.fullmatch(text) else text
    number = _integer(text)
    if number is None or not -(2**63) <= number < 2**63:
        raise ParameterError("id", text, ID)
    return str(number)


def read_limit(arguments: Arguments) -> int:
    """Return the parameter `limit`, 10 when there is none."""
    text = _only(arguments, "limit", LIMIT)
    if text is None:
        return DEFAULT_LIMIT
    number = _integer(text)
    if number is None or not 1 <= number <= MAX_LIMIT:
        raise ParameterError("limit", text, LIMIT)
    return number


def read_time(arguments: Arguments, field: str = "time") -> datetime:
    """Return the parameter `field`, a time, aware and in UTC; now when there is none."""
    text = _only(arguments, field, TIME)
    return datetime.now(UTC) if text is None else parse_time(text, field)


def read_topic(arguments: Arguments) -> str | None:
    """Return the parameter `topic`, None when there is none."""
    text = _only(arguments, "topic", TOPIC)
    if text is not None and not 1 <= len(text) <= _MAX_ID_LENGTH:
        raise ParameterError("topic", text, TOPIC)
    return text


def read_flag(arguments: Arguments, field: str) -> bool:
    """Say whether the parameter `field` is there, which can be `ok` alone."""
    text = _only(arguments, field, FLAG)
    if text not in {None, "ok"}:
        raise ParameterError(field, text, FLAG)
    return text is not None


def parse_time(text: str, field: str = "time") -> datetime:
    """Return a time, aware and in UTC; `field` is what an error names."""
    try:
        moment = _parse_time(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ParameterError(field, text, TIME) from error


def _parse_time(text: str) -> datetime:
    parts = _TIME.fullmatch(text) if len(text) <= _MAX_TIME_LENGTH else None
    if parts is None:
        raise ValueError(text)
    written = parts["date"].upper()
    if parts["time"]:
        written += f"T{parts['time']}{(parts['offset'] or '').upper().replace(' ', '+')}"
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return isoparse(written)


def _only(arguments: Arguments, field: str, allowed: str) -> str | None:
    """Return the one value of a parameter, None when it is absent; given twice it is refused, not guessed at."""
    values = arguments.getlist(field)
    if len(values) > 1:
        raise ParameterError(field, ", ".join(values), allowed)
    return values[0] if values else None


def _integer(text: str) -> int | None:
    text = text.strip()
    return int(text) if _INTEGER.fullmatch(text) else None
