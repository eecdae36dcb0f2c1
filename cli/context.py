"""What commands begin with: the settings, and from them the database and Redis."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from tomllib import TOMLDecodeError
from typing import TypeVar

import click
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from redis import Redis

from batch.settings import BatchSettings
from slates.client import connect
from slates.errors import SlatesError

_Settings = TypeVar("_Settings", bound=BaseSettings)


def read_settings(kind: Callable[..., _Settings], **given: object) -> _Settings:
    """Read the settings of a process; end it with a line for each wrong one, naming it and what is allowed."""
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            is_secret = any(word in name.lower() for word in ("url", "key"))  # a URL may hold a password
            value = "" if is_secret else f" = {problem['input']!r}"
            sys.stderr.write(f"error: setting {name}{value}: {problem['msg']}\n")
        sys.exit(2)
    except TOMLDecodeError as error:
        sys.exit(f"error: hourfeed.toml is not TOML: {error}")


def parse_time(option: str, text: str) -> datetime:
    """Read an ISO 8601 time, UTC where it has no offset; raise click's usage error on anything else."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is not a time; write it as in 2021-12-20T15:00 (UTC) or 2021-12-20T18:00+03:00"
        raise click.BadParameter(msg, param_hint=option) from error
    return moment.replace(microsecond=0)


@contextmanager
def open_redis(settings: BatchSettings, *, only_look: bool = False) -> Iterator[Redis]:
    """Connect to REDIS_URL, or to the embedded server in the state folder, held for as long as the block runs.

    With `only_look` an embedded server is not made where there was none; SlatesError says so.
    """
    with held_redis_url(settings, only_look=only_look) as url, connect(url) as redis, _named_failures():
        yield redis


@contextmanager
def held_redis_url(settings: BatchSettings, *, only_look: bool = False) -> Iterator[str]:
    """Return the URL that `open_redis` connects to, and hold its server likewise."""
    if settings.redis_url:
        yield settings.redis_url
        return
    if only_look and not (settings.state / "redis").exists():
        msg = (
            f"REDIS_URL is not set, and the state folder {settings.state} holds no embedded Redis; publish with "
            "`hourfeed batch`, or name the right folder: HOURFEED_STATE=.hourfeed/demo is that of `make demo`"
        )
        raise SlatesError(msg)
    from demo.services import hold_redis  # only where it is wanted

    with hold_redis(settings.state) as service:
        yield service.url


@contextmanager
def _named_failures() -> Iterator[None]:
    """Turn what redis-py raises where a server cannot be reached into a sentence; URL and password stay out of it."""
    from redis.exceptions import AuthenticationError

    from slates.circuit import REDIS_AWAY

    try:
        yield
    except AuthenticationError as error:
        msg = "Redis refused the user or password of REDIS_URL"
        raise SlatesError(msg) from error
    except REDIS_AWAY as error:
        msg = f"Redis does not answer ({error}); is the server that REDIS_URL names running?"
        raise SlatesError(msg) from error
