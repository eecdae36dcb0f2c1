"""What the parts of the quality benchmark share: logs, windows, and replays that several of them need."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from batch.gate import positive_actions
from batch.pipeline import prepare_history, read_at
from batch.replay import ReplayCases, ReplayResult, Window, find_cases, replay
from batch.replay_pool import cores
from batch.settings import BatchSettings
from batch.tables import HOUR_S, Tables
from bench.notes import Silent
from bench.paired import K
from source.engine import open_engine
from source.load import load_folder

RETRAIN_S = 7 * 24 * HOUR_S


class NoLogError(Exception):
    """The folder of interaction logs lacks the log that a part needs."""


@dataclass(frozen=True)
class Span:
    """A stretch of a log, from its first refresh on; `quick_end` is its end in a test-sized run."""

    log: str
    begin: str
    end: str
    quick_end: str

    def window(self, every_s: int, *, quick: bool) -> Window:
        """Return the window of a replay with a refresh every `every_s`."""
        begin, end = (_seconds(text) for text in (self.begin, self.quick_end if quick else self.end))
        return Window(begin, end, every_s, RETRAIN_S)


ARTICLES = Span("deskdrop", "2016-08-01", "2016-10-01", "2016-08-03")
ARTICLES_DEV = Span("deskdrop", "2016-07-01", "2016-07-15", "2016-07-03")
"""Weeks on which features were chosen: good for differences between variants, not for the figure itself."""
CLICKS = Span("globo", "2017-10-02T15", "2017-10-03T03", "2017-10-02T16")


@dataclass(frozen=True)
class QualityRun:
    """One run. `folder` is empty and temporary; `quick` asks for a test-sized run."""

    data: Path
    folder: Path
    quick: bool
    begun: float = field(default_factory=time.monotonic)
    kept: dict[tuple[Span, int], ReplayResult] = field(default_factory=dict)
    """Replays of all rankers, by span and seconds from one refresh to the next, for later parts."""
    _tables: dict[str, Tables] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print progress."""
        print(f"[{time.monotonic() - self.begun:6.1f} s] {text}", flush=True)

    def settings(self, log: str) -> BatchSettings:
        """Return the default settings, with a state folder for the log."""
        return BatchSettings(state=self.folder / log, database_url=None)

    def tables(self, span: Span) -> Tables:
        """Return the log as known at the end of the span; raise NoLogError where there is none."""
        end = self.window(span, HOUR_S).end_s
        name = f"{span.log} {end}"
        if name not in self._tables:
            self._load(span.log)
            settings = self.settings(span.log)
            engine = open_engine(None, settings.state)
            try:
                self._tables[name] = read_at(settings, engine, datetime.fromtimestamp(end, UTC), Silent())
            finally:
                engine.dispose()
        return self._tables[name]

    def window(self, span: Span, every_s: int) -> Window:
        """Return the window of a span in this run."""
        return span.window(every_s, quick=self.quick)

    def cases(self, span: Span, every_s: int) -> ReplayCases:
        """Return the cases of a span, any first touch being a hit."""
        tables, window = self.tables(span), self.window(span, every_s)
        history = prepare_history(self.settings(span.log), tables, None, window.begin_s)
        return find_cases(history, window, positive_actions(tables))

    def replayed(
        self, span: Span, every_s: int, rankers: Sequence[str], settings: BatchSettings | None = None
    ) -> ReplayResult:
        """Replay a span, any first touch being a hit."""
        tables, window = self.tables(span), self.window(span, every_s)
        settings = settings or self.settings(span.log)
        positive = positive_actions(tables)
        return replay(settings, tables, window, rankers, positive, K, Silent(), workers=cores())

    def _load(self, log: str) -> None:
        folder, settings = self.data / log, self.settings(log)
        if settings.state.exists():
            return
        if not (folder / "events.csv.gz").is_file():
            msg = f"{folder / 'events.csv.gz'} does not exist; name the folder of interaction logs: DATA=…"
            raise NoLogError(msg)
        engine = open_engine(None, settings.state)
        try:
            load_folder(folder, engine, settings.source, settings.actions, settings.state / "quarantine")
        finally:
            engine.dispose()


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
