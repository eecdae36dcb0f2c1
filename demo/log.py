"""Makes the log of a simulation: users' events chunk by chunk into a spool, and from there day by day into a sink."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from demo.network import Ints
from demo.sessions import BLOCK_USERS, EVENT, Events, Network, events_of_block
from demo.sinks import Sink, WriteDay
from demo.spool import Spool
from demo.workers import Run

TABLE_ROWS = 250_000
Report = Callable[[str, int, int], None]
"""Called with the stage (`users`, `log`, `writing`), what is done of it and how much there is."""


@dataclass(frozen=True)
class DayCounts:
    """What a day holds; its outermost events in seconds since 1970."""

    views: int
    likes: int
    first_s: int
    last_s: int


def write_log(
    network: Network, sink: Sink, spool: Spool, run: Run, chunk_users: int, report: Report
) -> list[DayCounts]:
    """Draw the log and write it in order of time; return what the days with events hold."""
    chunk_blocks = max(1, chunk_users // BLOCK_USERS)
    firsts = range(0, network.blocks, chunk_blocks)
    for stop in run(partial(_draw, spool, chunk_blocks), firsts):
        report("log", stop, network.blocks)
    days, counts = spool.days(), []
    with sink.days() as write:
        if not days:  # a table without rows is a table still
            write(network.parameters.first_day, _tables(network, np.zeros(0, dtype=EVENT), np.zeros(0, dtype=np.int64)))
        work = partial(_write_day, write, spool)
        for done, of_day in enumerate(run(work, days) if sink.in_workers else map(partial(work, network), days), 1):
            counts.append(of_day)
            report("writing", done, len(days))
    return counts


def _draw(spool: Spool, chunk_blocks: int, network: Network, first: int) -> int:
    stop = min(first + chunk_blocks, network.blocks)
    spool.put(first, np.concatenate([events_of_block(network, block) for block in range(first, stop)]))
    return stop


def _write_day(write: WriteDay, spool: Spool, network: Network, day: int) -> DayCounts:
    events, order = spool.day(day)
    write(day, _tables(network, events, order))
    likes, times = int(np.count_nonzero(events["like"])), events["time_s"]
    return DayCounts(events.size - likes, likes, int(times[order[0]]), int(times[order[-1]]))


def _tables(network: Network, events: Events, order: Ints) -> Iterator[pa.Table]:
    """Yield the events in their order, in tables of TABLE_ROWS, one at least."""
    for start in range(0, max(events.size, 1), TABLE_ROWS):
        yield table_of(network, events[order[start : start + TABLE_ROWS]])


def table_of(network: Network, events: Events) -> pa.Table:
    """Return events with the columns of the table; a like is a row of its own, with target 0."""
    actions = pa.DictionaryArray.from_arrays(events["like"].astype(np.int8), ["view", "like"])
    return pa.table(
        {
            "timestamp": events["time_s"].astype("datetime64[s]"),
            "user_id": network.users.user_id[events["user"]],
            "post_id": network.posts.post_id[events["post"]],
            "action": actions.cast(pa.string()),
            "target": events["target"].astype(np.int64),
        }
    )
