"""How a run grows: the same database cut down to a part of its users, posts, hours or history, and the same model.

A run with the saved model is measured, by the event log that the reading of all events has left before it.
"""

import contextlib
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from batch.pipeline import read_at
from batch.settings import BatchSettings
from bench.batches import Batches
from bench.network import Network, network, run_sql
from bench.notes import Silent
from demo.parameters import Parameters
from source.engine import open_engine
from source.schema import EventNames, PostNames, SourceSchema, UserNames

HOURS = 24
PARTS = {"users": (4, 2), "posts": (4, 2), "hours": (4, 2), "events": (10, 4, 2)}
"""What a run grows over → into how many parts it is cut, to run with one of them."""
_USERS, _POSTS, _EVENTS = "bench_users", "bench_posts", "bench_events"


@dataclass(frozen=True)
class _Cut:
    """A part of a database: tables beside its own, by the names that the settings have for them."""

    schema: SourceSchema
    hours: int = HOURS

    def environment(self) -> dict[str, str]:
        """Return the settings for a command."""
        names = {kind: getattr(self.schema, kind).table for kind in ("users", "posts", "events")}
        return {f"HOURFEED_SOURCE__{kind.upper()}__TABLE": name for kind, name in names.items()} | {
            "HOURFEED_HOURS": str(self.hours)
        }


def growth(batches: Batches, at: Network) -> dict[str, float]:
    """Run with parts of the network, and with all of it; ratios are of what all take against what a part takes."""
    model, found = batches.model(), dict[str, float]()
    names = {f"{axis}.{parts}": (axis, parts) for axis, all_parts in PARTS.items() for parts in all_parts}
    for name, (axis, parts) in names.items():
        with _CUTS[axis](at, parts) as cut:
            found |= _run(batches, at, f"growth.{name}", cut, model)
    whole = _run(batches, at, "growth.whole", _Cut(SourceSchema()), model)
    for figure in ("wall_s", "cpu_s", "peak_gb"):
        quarter, all_ = found[f"growth.users.4.{figure}"], whole[f"growth.whole.{figure}"]
        found[f"growth.users.ratio.{figure}"] = all_ / quarter / 4
    for figure in ("wall_s", "cpu_s"):
        found[f"growth.history.ratio.{figure}"] = whole[f"growth.whole.{figure}"] / found[f"growth.events.10.{figure}"]
    return found | whole


def four_times(batches: Batches, parameters: Parameters, folder: Path, full: Mapping[str, float]) -> dict[str, float]:
    """Run on a network with four times the users, by the same model; `full` : figures of the run with one time."""
    with network(replace(parameters, users=4 * parameters.users), folder) as at:
        elsewhere = replace(batches, database_url=at.url)
        found = _run(elsewhere, at, "growth.four_times", _Cut(SourceSchema()), batches.model())
    for figure in ("wall_s", "cpu_s", "peak_gb"):
        found[f"growth.four_times.ratio.{figure}"] = found[f"growth.four_times.{figure}"] / full[f"full.{figure}"] / 4
    return found


def _run(batches: Batches, at: Network, name: str, cut: _Cut, model: Path) -> dict[str, float]:
    there = batches.elsewhere(name, **cut.environment())
    _read(there, at, cut)
    batches.redis.flushall()
    try:
        return there.run(name, at.end, "--model", model)
    finally:
        shutil.rmtree(there.state)


def _read(there: Batches, at: Network, cut: _Cut) -> None:
    """Read all events into the event log of a state folder, in a process that goes."""
    settings = BatchSettings(state=there.state, database_url=there.database_url, source=cut.schema)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(_read_here, settings, at).result()


def _read_here(settings: BatchSettings, at: Network) -> None:
    engine = open_engine(settings.database_url, settings.state)
    try:
        read_at(settings, engine, at.end, Silent())
    finally:
        engine.dispose()


@contextlib.contextmanager
def _of_users(at: Network, parts: int) -> Iterator[_Cut]:
    """Cut down to a part of the users, by a hash of their ids, and to what they did."""
    users = f"SELECT * FROM user_data WHERE mod(hashint8(user_id), {parts}) = 0"  # noqa: S608
    events = f"SELECT * FROM feed_data WHERE user_id IN (SELECT user_id FROM {_USERS})"  # noqa: S608
    with _tables(at, {_USERS: users, _EVENTS: events}):
        yield _Cut(SourceSchema(users=UserNames(table=_USERS), events=EventNames(table=_EVENTS)))


@contextlib.contextmanager
def _of_posts(at: Network, parts: int) -> Iterator[_Cut]:
    """Cut down to a part of the posts, likewise."""
    posts = f"SELECT * FROM post_text_df WHERE mod(hashint8(post_id), {parts}) = 0"  # noqa: S608
    events = f"SELECT * FROM feed_data WHERE post_id IN (SELECT post_id FROM {_POSTS})"  # noqa: S608
    with _tables(at, {_POSTS: posts, _EVENTS: events}):
        yield _Cut(SourceSchema(posts=PostNames(table=_POSTS), events=EventNames(table=_EVENTS)))


@contextlib.contextmanager
def _of_hours(_at: Network, parts: int) -> Iterator[_Cut]:
    yield _Cut(SourceSchema(), HOURS // parts)


@contextlib.contextmanager
def _of_events(at: Network, parts: int) -> Iterator[_Cut]:
    """Cut the history down to its latest part; users and posts stay."""
    span = "SELECT min(timestamp) AS begin, max(timestamp) - min(timestamp) AS length FROM feed_data"
    late = f"timestamp >= begin + length * ({parts} - 1) / {parts}"
    events = f"SELECT feed_data.* FROM feed_data, ({span}) AS span WHERE {late}"  # noqa: S608
    with _tables(at, {_EVENTS: events}):
        yield _Cut(SourceSchema(events=EventNames(table=_EVENTS)))


_CUTS: dict[str, Callable[[Network, int], contextlib.AbstractContextManager[_Cut]]] = {
    "users": _of_users,
    "posts": _of_posts,
    "hours": _of_hours,
    "events": _of_events,
}


@contextlib.contextmanager
def _tables(at: Network, wanted: dict[str, str]) -> Iterator[None]:
    """Make tables by what selects their rows, and drop them after the block; events get an index on their time."""
    try:
        for name, rows in wanted.items():
            run_sql(at.url, f"DROP TABLE IF EXISTS {name}")
            run_sql(at.url, f"CREATE UNLOGGED TABLE {name} AS {rows}")
            if name == _EVENTS:
                run_sql(at.url, f"CREATE INDEX ON {name} (timestamp)")
            run_sql(at.url, f"ANALYZE {name}")
        yield
    finally:
        for name in wanted:
            run_sql(at.url, f"DROP TABLE IF EXISTS {name}")
