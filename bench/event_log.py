"""What the event log costs on a Postgres database: the first read, opening it, and a refresh with new events.

    DATABASE_URL=postgresql://… python -m bench.event_log [--smoke]

Reads `feed_data` by its default names into a log in a temporary folder; each step is a process of its own. For the
refresh, ten minutes of events are inserted in a transaction that is rolled back, so the role must be allowed to. Prints
seconds (wall clock, and processor time on our side), peak memory, rows a second and bytes an event, beside the limit:
the same COPY thrown away as it comes. Writes bench/results/event_log.json; --smoke asks nothing of speed.
"""

import argparse
import contextlib
import io
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from batch.event_log.log import LogOptions, read_log
from batch.read import ReadOptions, read_tables
from batch.settings import BatchSettings
from batch.tables import HOUR_S
from bench.errors import BenchError
from bench.figures import conclude, read_targets
from bench.network import end_of_log, new_events
from source.engine import open_engine
from source.existing import find_table
from source.schema import SourceSchema


def main(arguments: list[str] | None = None) -> int:
    """Measure step by step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="ask nothing of speed and memory")
    name = "event_log_smoke" if parser.parse_args(arguments).smoke else "event_log"
    url = BatchSettings().database_url
    if url is None:
        raise BenchError("name a Postgres database by DATABASE_URL")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for step, run in (("limit", _thrown_away), ("first_read", _read), ("open", _open), ("refresh", _refresh)):
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                found = process.submit(_measured, run, url, folder).result()
            figures |= {f"{step}.{figure}": value for figure, value in found.items()}
            if step == "first_read":
                size = sum(path.stat().st_size for path in (folder / "log").iterdir())
                figures["bytes_per_event"] = round(size / found["events"], 2)
                figures["first_read.rows_per_s"] = round(found["events"] / found["wall_s"])
    figures["limit.share"] = figures["limit.wall_s"] / figures["first_read.wall_s"]
    return conclude(name, figures, read_targets(name))


def _measured(run: Callable[[str, Path], int], url: str, folder: Path) -> dict[str, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    events = run(url, folder)
    return {
        "events": events,
        "wall_s": round(time.perf_counter() - wall_s, 3),
        "cpu_s": round(time.process_time() - cpu_s, 3),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


class _Nowhere(io.RawIOBase):
    """Takes bytes and forgets them."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Any) -> int:
        """Forget."""
        return len(data)


def _thrown_away(url: str, folder: Path) -> int:
    with open_engine(url, folder).connect() as connection, contextlib.closing(connection.connection.cursor()) as cursor:
        copied: Any = cursor
        rows = "SELECT timestamp, user_id, post_id, action, target FROM feed_data"
        copied.copy_expert(f"COPY ({rows}) TO STDOUT (FORMAT binary)", _Nowhere())
        return int(copied.rowcount)


def _read(url: str, folder: Path) -> int:
    return _tables(url, folder, BatchSettings().late_h)


def _open(url: str, folder: Path) -> int:
    """Read no more than the newest second."""
    return _tables(url, folder, 0)


def _tables(url: str, folder: Path, late_h: float) -> int:
    engine = open_engine(url, folder)
    options = ReadOptions(_log(folder, late_h), 1.0, folder / "quarantine")
    return len(read_tables(engine, SourceSchema(), datetime.now(UTC), options, lambda _rows: None).events.at_s)


def _refresh(url: str, folder: Path) -> int:
    """Read with new events, as the next scheduled run does."""
    statement, values = new_events(end_of_log(url))
    with open_engine(url, folder).connect() as connection:
        connection.execute(text(statement), values)
        table = find_table(connection, SourceSchema(), "events")
        if table is None:
            raise BenchError("there is no table feed_data")
        now_s, log = int(time.time()), _log(folder, BatchSettings().late_h)
        events = len(read_log(connection, table, now_s, log, lambda _rows: None).events)
        connection.rollback()
    return events


def _log(folder: Path, late_h: float) -> LogOptions:
    return LogOptions(folder / "log", BatchSettings().actions, round(late_h * HOUR_S))


if __name__ == "__main__":
    sys.exit(main())
