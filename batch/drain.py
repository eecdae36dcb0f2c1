"""The drain: takes posted events off the stream and puts them into the database, until it is told to stop.

Committed before they are taken off, and known by their ids to the same transaction: whatever is killed in between,
each is in the database once.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from redis import Redis

from slates.client import REDIS_AWAY, RedisError
from slates.errors import CodecError
from slates.event_stream import Waiting, next_events, settle_events
from slates.exposure import decode_exposure
from slates.keys import Keys
from slates.stream import next_entries, settle_entries
from source.chunk import BadRow
from source.drained import DrainTarget, PostedEvent, Refused
from source.errors import SourceError
from source.exposures import ExposureRow
from source.quarantine import append_rows

AT_ONCE = 1_000
WAIT_MS = 1_000
AGAIN_AFTER_S = 1.0
QUARANTINE_FILE = "posted events"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drain:
    """What a drain works between."""

    redis: Redis
    keys: Keys
    target: DrainTarget
    quarantine_folder: Path

    def run(self, stop: threading.Event) -> None:
        """Drain until `stop` is set; where Redis or the database is away, try again every second."""
        failing = ""
        while not stop.is_set():
            try:
                self.step(WAIT_MS)
                if failing:
                    _log.warning("events are drained again")
                failing = ""
            except (SourceError, RedisError, *REDIS_AWAY) as error:
                if str(error) != failing:
                    _log.warning("events stay on the stream: %s", error)
                failing = str(error)
                stop.wait(AGAIN_AFTER_S)

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Drain in a thread while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self.run, args=(stop,), name="drain", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def run_once(self) -> int:
        """Drain what waits now, and return how many events that were; raises what went wrong."""
        done = 0
        while count := self.step(None):
            done += count
        return done

    def step(self, wait_ms: int | None) -> int:
        """Drain up to AT_ONCE events, waiting so long for the first of them, and exposures; return how many."""
        waiting = next_events(self.redis, self.keys, AT_ONCE, wait_ms)
        exposed = self._exposures()
        if not waiting:
            return exposed
        posted = [PostedEvent(**vars(entry.event)) for entry in waiting if entry.event is not None]
        self._set_aside_entries([entry for entry in waiting if entry.event is None and entry.raw])
        if posted:
            self.target.take_in(posted, datetime.now(UTC), self._set_aside)
        settle_events(self.redis, self.keys, [entry.entry_id for entry in waiting])
        return len(waiting) + exposed

    def _exposures(self) -> int:
        entries = next_entries(self.redis, self.keys, self.keys.exposures, AT_ONCE, None)
        if not entries:
            return 0
        rows = []
        for entry_id, fields in entries:
            with suppress(CodecError):  # no row of ours: it goes
                shown = decode_exposure(fields)
                posts = fields[b"posts"].decode()
                rows.append(
                    ExposureRow(entry_id, shown.at, shown.experiment, shown.arm, shown.user_id, shown.generation, posts)
                )
        if rows:
            self.target.take_in_exposures(rows)
        settle_entries(self.redis, self.keys, self.keys.exposures, [entry_id for entry_id, _ in entries])
        return len(entries)

    def _set_aside(self, refused: Sequence[Refused]) -> None:
        rows = [BadRow(0, reason, ",".join(map(str, event))) for event, reason in refused]
        append_rows(self.quarantine_folder, QUARANTINE_FILE, rows)

    def _set_aside_entries(self, entries: Sequence[Waiting]) -> None:
        rows = [BadRow(0, "no event", f"{entry.entry_id} {dict(entry.raw)!r}") for entry in entries]
        append_rows(self.quarantine_folder, QUARANTINE_FILE, rows)
