"""`hourfeed drain`: put posted events into the database, until told to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
from redis import Redis

from batch.drain import Drain
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from slates.cluster import keys_of
from slates.event_stream import count_waiting
from source.drained import DrainTarget
from source.engine import open_engine


@click.command("drain")
@click.option("--once", is_flag=True, help="End when no event waits any more.")
def command(*, once: bool) -> None:
    """Take events that were posted off Redis and insert them into the table of events, each once.

    DRAIN_DATABASE_URL names a role that may do so; without it that of DATABASE_URL is used.
    """
    settings = read_settings(BatchSettings)
    with open_redis(settings) as redis, opened_drain(settings, redis) as drain:
        if once:
            click.echo(f"{drain.run_once():,} events drained")
            return
        stop = threading.Event()

        def end(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        click.echo(f"{count_waiting(redis, drain.keys):,} events wait; draining until Ctrl-C", err=True)
        drain.run(stop)


@contextmanager
def opened_drain(settings: BatchSettings, redis: Redis) -> Iterator[Drain]:
    """Return a drain between the Redis and the database of the settings."""
    engine = open_engine(settings.drain_database_url or settings.database_url, settings.state)
    try:
        target = DrainTarget(engine, settings.source)
        yield Drain(redis, keys_of(redis, settings.prefix), target, settings.state / "quarantine")
    finally:
        engine.dispose()
