"""Puts events in order of time on disk: they come by user and go out by day, so that memory holds one day at most."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demo.sessions import EVENT, Events

_DAY_S = 86_400


class Spool:
    """One file a day in `folder`, which the caller removes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._days: set[int] = set()

    def append(self, events: Events) -> None:
        """Add events in any order."""
        day = events["time_s"] // _DAY_S
        order = np.argsort(day, kind="stable")
        days, counts = np.unique(day, return_counts=True)
        ordered, stop = events[order], np.cumsum(counts)
        for number, count, end in zip(days.tolist(), counts, stop, strict=True):
            with self._path(number).open("ab") as file:
                file.write(ordered[end - count : end].tobytes())
            self._days.add(number)

    def days(self) -> Iterator[Events]:
        """Yield the events of each day, by time, then user, then the view before the like."""
        for day in sorted(self._days):
            events = np.fromfile(self._path(day), dtype=EVENT)
            yield events[np.lexsort((events["like"], events["user"], events["time_s"]))]

    def __len__(self) -> int:
        """Return how many days hold events."""
        return len(self._days)

    def _path(self, day: int) -> Path:
        return self._folder / f"{day}.events"
