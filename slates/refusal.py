"""Says in a sentence why Redis refused a write, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ResponseError

from slates.errors import SlatesError


@contextmanager
def refusal_explained() -> Iterator[None]:
    """Turn an error that Redis answers to a write into a SlatesError."""
    try:
        yield
    except ResponseError as error:
        if "maxmemory" in str(error):
            what, remedy = "is full", "Raise its maxmemory, or publish fewer hours, a smaller top_n or keep_generations"
        else:
            what, remedy = (
                "refused a write",
                "Is its disk full, may its user write, is the key prefix ours alone?",
            )
        msg = f"Redis {what} ({error}); the live generation is untouched. {remedy}"
        raise SlatesError(msg) from error
