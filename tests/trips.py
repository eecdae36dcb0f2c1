"""Counts round trips to Redis, for tests of what a look-up costs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from redis import Redis

from slates.resp import read_commands
from slates.wire import Ready, Wire


@contextmanager
def round_trips(redis: Redis) -> Iterator[list[str]]:
    """Collect the names of the commands that are sent at once, and `pipeline` for each pipeline."""
    trips: list[str] = []

    ask = Wire.ask

    def counted_batch(wire: Wire, batch: Sequence[Ready], *, tries: int) -> list[Any]:
        trips.append(" ".join(read_commands(commands)[0][0].decode() for _, commands, _ in batch))
        return ask(wire, batch, tries=tries)

    execute: Any = redis.execute_command

    def counted(*args: object, **kwargs: object) -> object:
        trips.append(str(args[0]))
        return execute(*args, **kwargs)

    make_pipeline = redis.pipeline

    def counted_pipeline(*args: bool, **kwargs: bool) -> object:
        pipeline = make_pipeline(*args, **kwargs)
        send = pipeline.execute

        def counted_send(*args: bool) -> object:
            trips.append("pipeline")
            return send(*args)

        pipeline.execute = counted_send  # type: ignore[assignment, method-assign]
        return pipeline

    with (
        patch.object(Wire, "ask", counted_batch),
        patch.object(redis, "execute_command", counted),
        patch.object(redis, "pipeline", counted_pipeline),
    ):
        yield trips
