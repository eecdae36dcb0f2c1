"""A simulated network in a Postgres: made for the occasion, or one that is there already."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from bench.service import HOURFEED
from bench.watched import watch
from demo.parameters import Parameters
from demo.postgres import create_database, temporary_postgres
from demo.scales import SCALES
from source.engine import open_engine

_REFERENCE = Parameters(**SCALES["reference"])
PARAMETERS = {
    "tiny": replace(_REFERENCE, users=300, posts=240, days=10, activity=0.36),
    "demo": replace(_REFERENCE, users=2_000, posts=600, days=20, activity=0.36),
    "tenth": replace(_REFERENCE, users=_REFERENCE.users // 10),
    "reference": _REFERENCE,
}
"""Networks by the name of their scale. All end at the same moment."""

_TEN_MINUTES = """
INSERT INTO feed_data (timestamp, user_id, post_id, action, target)
SELECT timestamp + :later, user_id, post_id, action, target FROM feed_data
WHERE timestamp >= :begin AND timestamp < :end ON CONFLICT DO NOTHING
"""
_LATER = timedelta(hours=12)
NEW_EVENTS_SPAN = timedelta(minutes=10)


@dataclass(frozen=True)
class Network:
    """A database by its SQLAlchemy URL, and the end of its log, a full hour in UTC. figures : what making it took."""

    url: str
    end: datetime
    figures: dict[str, float]


@contextlib.contextmanager
def network(parameters: Parameters, folder: Path, url: str | None = None) -> Iterator[Network]:
    """Yield the network in a Postgres of its own, or what is in the one at `url`, until the block ends.

    `folder` is new, and for what comes beside the database.
    """
    folder.mkdir(parents=True)
    if url is not None:
        yield Network(url, end_of_log(url), {})
        return
    with temporary_postgres(folder / "postgres") as server:
        made = create_database(server, "hourfeed")
        yield Network(made, parameters.end, _fill(made, parameters, folder))


def _fill(url: str, parameters: Parameters, folder: Path) -> dict[str, float]:
    """Simulate into files, and load these."""
    files, state = folder / "files", folder / "loading"
    state.mkdir()
    sizes = [f"--{name}={getattr(parameters, name)}" for name in ("users", "posts", "days", "activity")]
    end = f"--end={parameters.end:%Y-%m-%dT%H:%M}"
    environment = {**os.environ, "DATABASE_URL": url, "HOURFEED_STATE": str(state)}
    simulated = watch([HOURFEED, "simulate", *sizes, end, f"--out={files}"], environment, folder)
    loaded = watch([HOURFEED, "load", files], environment, folder)
    shutil.rmtree(files)
    events = run_sql(url, "SELECT count(*) FROM feed_data")
    for table in ("user_data", "post_text_df", "feed_data"):
        run_sql(url, f"ANALYZE {table}")
    return {
        "simulate.wall_s": simulated.wall_s,
        "simulate.peak_gb": simulated.peak_bytes / 1e9,
        "load.wall_s": loaded.wall_s,
        "load.peak_gb": loaded.peak_bytes / 1e9,
        "load.events_per_s": events / loaded.wall_s,
    }


def end_of_log(url: str) -> datetime:
    """Return the first full hour after the latest event."""
    last_s = run_sql(url, "SELECT extract(epoch FROM max(timestamp))::bigint FROM feed_data")
    return datetime.fromtimestamp(last_s // 3600 * 3600 + 3600, UTC)


def new_events(end: datetime) -> tuple[str, dict[str, object]]:
    """Return what inserts the ten minutes after `end`, with its values: what happened twelve hours before."""
    begin = end.replace(tzinfo=None) - _LATER
    return _TEN_MINUTES, {"later": _LATER, "begin": begin, "end": begin + NEW_EVENTS_SPAN}


def insert_new_events(url: str, end: datetime) -> int:
    """Insert the ten minutes after `end`; return how many events that is."""
    statement, values = new_events(end)
    return run_sql(url, statement, **values)


def delete_new_events(url: str, end: datetime) -> None:
    """Delete what is later than the log was."""
    run_sql(url, "DELETE FROM feed_data WHERE timestamp >= :end", end=end.replace(tzinfo=None))


def run_sql(url: str, statement: str, **values: object) -> int:
    """Carry out a statement in a transaction of its own; return the number it answers, or of rows that changed."""
    engine = open_engine(url, Path())
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return int(result.scalar_one()) if result.returns_rows else result.rowcount
    finally:
        engine.dispose()
