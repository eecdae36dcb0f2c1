"""Simulates a social network: users and posts, what is hidden of them, and the log of views and likes."""

import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from demo.errors import DemoError
from demo.log import DayCounts, Report, write_log
from demo.marker import MARKER, Marker, database_place, first_filled_table, user_ids
from demo.network import make_users
from demo.parameters import Parameters
from demo.sessions import make_network
from demo.sinks import KINDS, DatabaseSink, FileFormat, Sink, file_sink
from demo.spool import Spool
from demo.workers import side_by_side
from source.schema import SourceSchema

ORACLE = "oracle.npz"
CHUNK_USERS = 5_000
"""Users whose events are in memory at a time in each worker; neither number changes anything in the result."""


@dataclass(frozen=True)
class Summary:
    """What a simulation holds. `first` and `last` are the times of its outermost events, aware, None without events."""

    users: int
    posts: int
    views: int
    likes: int
    first: datetime | None
    last: datetime | None
    already_there: bool = False

    @property
    def like_rate(self) -> float:
        """Likes a view; 0 without views."""
        return self.likes / self.views if self.views else 0.0


def simulate(
    parameters: Parameters,
    engine: Engine,
    schema: SourceSchema,
    state: Path,
    *,
    keep_end: bool = False,
    chunk_users: int = CHUNK_USERS,
    workers: int = 1,
    progress: Report | None = None,
) -> Summary:
    """Fill an empty database, and save the oracle as `state`/oracle.npz.

    Where the same simulation is there already nothing is written; with `keep_end` one that differs in its end alone
    counts as the same. One that was interrupted is completed. Raises DemoError when the tables hold other rows.
    """
    path, place = state / MARKER, database_place(engine, schema)
    earlier = _earlier(Marker.read(path), parameters, engine, schema, keep_end=keep_end)
    if earlier is not None:
        parameters = earlier.parameters
    if earlier is not None and earlier.summary is not None:
        if not (state / ORACLE).exists():
            make_network(parameters).oracle.save(state / ORACLE)
        return _from_json(earlier.summary)
    Marker(parameters, place, None).write(path)
    summary = _run(parameters, DatabaseSink(engine, schema), state, chunk_users, workers, progress)
    Marker(parameters, place, asdict(summary)).write(path)
    return summary


def _earlier(
    marker: Marker | None, parameters: Parameters, engine: Engine, schema: SourceSchema, *, keep_end: bool
) -> Marker | None:
    """Return the marker of the same simulation, whole or begun; None for empty tables, DemoError for other rows."""
    filled = first_filled_table(engine, schema)
    if filled is None:
        return None
    place, what = database_place(engine, schema), "rows from elsewhere"
    if marker is not None and marker.place == place:
        if not marker.is_of(parameters, place, keep_end=keep_end):
            what = "another simulation"
        elif marker.summary is not None or _holds_users_of(marker.parameters, engine, schema):
            return marker
    raise DemoError(
        f"the table {filled} already holds {what}, and a simulation needs empty tables; "
        "name another database by DATABASE_URL, or write files instead with --out DIR"
    )


def _holds_users_of(parameters: Parameters, engine: Engine, schema: SourceSchema) -> bool:
    """Tell whether the users are those of the simulation, which writes them first and in one transaction."""
    simulated: list[object] = make_users(parameters).user_id.tolist()
    return user_ids(engine, schema) == simulated


def simulate_files(
    parameters: Parameters,
    folder: Path,
    *,
    file_format: FileFormat = "parquet",
    chunk_users: int = CHUNK_USERS,
    workers: int = 1,
    progress: Report | None = None,
) -> Summary:
    """Write users, posts, events and the oracle into `folder`, over those of an earlier simulation.

    Raises DemoError when files of these names are there that no simulation wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = [path for kind in KINDS for pattern in (f"{kind}.*", f"{kind}/*") for path in sorted(folder.glob(pattern))]
    if there and Marker.read(folder / MARKER) is None:
        raise DemoError(f"{there[0]} is there, and no simulation wrote it; name another folder with --out")
    for path in there:
        path.unlink()
    Marker(parameters, "files", None).write(folder / MARKER)
    summary = _run(parameters, file_sink(folder, file_format), folder, chunk_users, workers, progress)
    Marker(parameters, "files", asdict(summary)).write(folder / MARKER)
    return summary


def _run(
    parameters: Parameters, sink: Sink, folder: Path, chunk_users: int, workers: int, progress: Report | None
) -> Summary:
    report = progress or (lambda _stage, _done, _total: None)
    network = make_network(parameters)
    network.oracle.save(folder / ORACLE)
    sink.write("users", network.users.frame())
    sink.write("posts", network.posts.frame(parameters))
    report("users", 1, 1)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".simulate-") as scratch,
        side_by_side(network, min(workers, -(-parameters.users // chunk_users))) as run,
    ):
        days = write_log(network, sink, Spool(Path(scratch)), run, chunk_users, report)
    return _summary(parameters, days)


def _summary(parameters: Parameters, days: list[DayCounts]) -> Summary:
    views, likes = sum(day.views for day in days), sum(day.likes for day in days)
    first, last = (
        (datetime.fromtimestamp(days[0].first_s, UTC), datetime.fromtimestamp(days[-1].last_s, UTC))
        if days
        else (None, None)
    )
    return Summary(parameters.users, parameters.posts, views, likes, first, last)


def _from_json(summary: dict[str, object]) -> Summary:
    times = {name: datetime.fromisoformat(str(summary[name])) if summary[name] else None for name in ("first", "last")}
    return Summary(**{**summary, **times, "already_there": True})  # type: ignore[arg-type]
