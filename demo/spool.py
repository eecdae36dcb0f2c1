"""Puts events in order of time on disk: they come by user and go out by day, so that memory holds one day at most."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.network import Ints
from demo.sessions import EVENT, Events

_DAY_S = 86_400


@dataclass(frozen=True)
class Spool:
    """A folder for each day in `folder`, which the caller removes, and in it a file for each part of the users."""

    folder: Path

    def put(self, part: int, events: Events) -> None:
        """Keep the events of some users, in any order; each part has its own number."""
        day = events["time_s"] // _DAY_S
        order = np.argsort(day, kind="stable")
        days, counts = np.unique(day, return_counts=True)
        ordered, stop = events[order], np.cumsum(counts)
        for number, count, end in zip(days.tolist(), counts, stop, strict=True):
            of_day = self.folder / str(number)
            of_day.mkdir(exist_ok=True)
            ordered[end - count : end].tofile(of_day / f"{part}.events")

    def days(self) -> list[int]:
        """Return the days that hold events, ascending, days since 1970."""
        return sorted(int(path.name) for path in self.folder.iterdir())

    def day(self, number: int) -> tuple[Events, Ints]:
        """Return the events of a day, and their order by time, then user, then the view before the like.

        No two are equal in these. They come apart because a day of millions of users takes a gigabyte in copies.
        """
        paths = list((self.folder / str(number)).iterdir())
        events = np.empty(sum(path.stat().st_size for path in paths) // EVENT.itemsize, dtype=EVENT)
        stop = 0
        for path in paths:
            part = np.fromfile(path, dtype=EVENT)
            events[stop : stop + part.size] = part
            stop += part.size
        # One key of 17 + 31 + 1 bits sorts in a third of the time that three keys take.
        key = events["time_s"] % _DAY_S
        key <<= 31
        key |= events["user"]
        key <<= 1
        key |= events["like"]
        return events, np.argsort(key)
