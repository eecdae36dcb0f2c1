"""A table of events that changes as tables do: rows come, also late ones, and rows vanish."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from batch.event_log.log import LoggedEvents, LogOptions, read_log
from source.existing import find_table
from source.schema import SourceSchema

ACTIONS = {"view": 1, "like": 2}
BEGIN_S = int(datetime(2021, 12, 1, tzinfo=UTC).timestamp())
HOUR_S = 3600
LATE_S = 6 * HOUR_S
NO_END_S = BEGIN_S + 10**9


def create_table(engine: Engine, id_type: str = "bigint") -> None:
    execute(
        engine,
        f"CREATE TABLE feed_data (timestamp timestamp, user_id {id_type}, post_id {id_type}, action text, target int)",
        "CREATE INDEX at ON feed_data (timestamp)",
    )


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def moment(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S.%f}"


def insert(engine: Engine, rng: np.random.Generator, at_s: NDArray[np.float64], *, prefix: str = "") -> None:
    """Insert an event at each second, some of them unusable, some without a time."""
    rows = []
    for second in at_s:
        at = None if rng.random() < 0.02 else moment(second)
        user = None if rng.random() < 0.02 else prefix + str(rng.integers(-20, 20))
        action = "buy" if rng.random() < 0.02 else ("view", "like")[rng.integers(2)]
        target = (None, 0, 1)[rng.integers(3)] if action == "view" else None
        rows.append({"at": at, "user": user, "post": prefix + str(rng.integers(9)), "action": action, "target": target})
    if not prefix:
        rows = [{**row, "user": row["user"] and int(row["user"]), "post": int(str(row["post"]))} for row in rows]
    at_type = "CAST(:at AS timestamp)" if engine.dialect.name == "postgresql" else ":at"
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO feed_data VALUES ({at_type}, :user, :post, :action, :target)"), rows)


def change(engine: Engine, rng: np.random.Generator, newest_s: int) -> int:
    """Let some hours pass: rows come and vanish within the time that is open to change; return the newest second."""
    since_s = newest_s - LATE_S + 1
    now_s = newest_s + int(rng.integers(1, 20)) * HOUR_S // 2
    if rng.random() < 0.6:
        from_s, to_s = sorted(rng.uniform(since_s, newest_s, 2))
        execute(engine, f"DELETE FROM feed_data WHERE timestamp >= '{moment(from_s)}' AND timestamp < '{moment(to_s)}'")
    if rng.random() < 0.2:
        execute(engine, "DELETE FROM feed_data WHERE timestamp IS NULL")
    insert(engine, rng, rng.uniform(since_s, now_s, int(rng.integers(1, 60))), prefix="")
    return now_s


def read(
    engine: Engine,
    folder: Path,
    before_s: int = NO_END_S,
    schema: SourceSchema = SourceSchema(),  # noqa: B008
    **options: object,
) -> LoggedEvents:
    given = {"folder": folder, "actions": ACTIONS, "late_s": LATE_S, **options}
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        table = find_table(connection, schema, "events")
        assert table is not None
        return read_log(connection, table, before_s, LogOptions(**given), lambda _rows: None)  # type: ignore[arg-type]


def said(logged: LoggedEvents) -> dict[str, object]:
    """Return all that a log says, whatever its own numbering of the ids."""
    events = logged.events
    return {
        "at_s": events.at_s.tolist(),
        "user": logged.user_ids[events.user].tolist(),
        "post": logged.post_ids[events.post].tolist(),
        "action": events.action.tolist(),
        "bad": sorted((row.reason, row.row) for row in logged.bad),
        "n_bad": logged.n_bad,
        "responses": logged.responses,
    }
