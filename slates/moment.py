"""Times as Redis holds them: ISO 8601 in UTC, always of the same length."""

from datetime import UTC, datetime

_SECOND = "%Y-%m-%dT%H:%M:%SZ"
_MICROSECOND = "%Y-%m-%dT%H:%M:%S.%fZ"


def write_second(moment: datetime) -> str:
    """Write an aware time to the second."""
    return moment.astimezone(UTC).strftime(_SECOND).rjust(20, "0")  # strftime leaves years below 1000 short


def read_second(text: str) -> datetime:
    """Read what `write_second` wrote; raise ValueError when it is none."""
    return datetime.strptime(text, _SECOND).replace(tzinfo=UTC)


def write_microsecond(moment: datetime) -> str:
    """Write an aware time to the microsecond."""
    return moment.astimezone(UTC).strftime(_MICROSECOND).rjust(27, "0")


def read_microsecond(text: str) -> datetime:
    """Read what `write_microsecond` wrote; raise ValueError when it is none."""
    return datetime.strptime(text, _MICROSECOND).replace(tzinfo=UTC)
