"""The gate: is the trained ranker better than a baseline on the latest days? The better one is published.

The latest days are held out: a ranker is trained on what was before them and replayed over some of their refreshes,
beside the baselines, on the same cases. That costs a second training, so a verdict is kept for a day.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from batch.features.orders import Orders
from batch.metrics import hit_rate_at_k, hits_of, interval_95
from batch.pipeline import Report, config_digest, prepare_history
from batch.replay import Period, ReplayCases, Window, find_cases, only, replay_period
from batch.settings import BatchSettings
from batch.tables import HOUR_S, Tables
from slates.verdict import verdict_line

BASELINES = ("popular_24h", "popular_6h", "popular_1h", "popular_decay", "item_knn_recency", "user_knn_trend")
"""What the trained ranker has to beat: cheap, and each the best one on some kind of log."""
K = 5
_HELD_OUT_SHARE = 0.2
"""Share of a log that is held out at most: of a short one the rest must do to train on."""
_FEWEST_CASES, _MOST_CASES = 50, 4_000
_FEWEST_MOMENTS, _EVENTS_LOOKED_THROUGH = 6, 50_000_000
"""Refreshes that are replayed: as many as look through so many events, of a long log the fewest."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found on the events from `begin_s` to `as_of_s`, both in seconds since 1970.

    trained, of_baseline : hitrate@5 of the trained ranker and of `baseline`, the best of the baselines.
    difference : trained - of_baseline, and interval_95 half the width of its 95 % interval, paired, by user; None where
    one user tells nothing of it.
    """

    chosen: str
    trained: float
    baseline: str
    of_baseline: float
    difference: float
    interval_95: float | None
    cases: int
    users: int
    begin_s: int
    as_of_s: int

    def as_told(self) -> dict[str, Any]:
        """Return it as the manifest holds it: rates with four decimals, times in words."""
        found = {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(self).items()}
        times = {name: datetime.fromtimestamp(found.pop(f"{name}_s"), UTC) for name in ("begin", "as_of")}
        return found | {name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times.items()}


def judge(
    settings: BatchSettings, tables: Tables, refresh_s: float, report: Report, orders: Orders | None = None
) -> Verdict | None:
    """Return the verdict for a run at the as-of time of `tables`: the one that is kept, else a new one, which is kept.

    None where the held-out days hold too few cases, or the days before them too little to train on. orders : of the
    events, where they are known.
    """
    kept = _Kept(settings, tables)
    verdict = kept.read(settings.gate_every_h)
    if verdict is None:
        verdict = compare(settings, tables, refresh_s, _Named(report), orders)
        if verdict is not None:
            kept.write(verdict)
    if verdict is None:
        report.note(
            "gate: too few cases on the latest days, or too little before them to train on, so it is passed over"
        )
    else:
        report.note(f"gate: {verdict_line(verdict.as_told())}")
    return verdict


def compare(
    settings: BatchSettings, tables: Tables, refresh_s: float, report: Report, orders: Orders | None = None
) -> Verdict | None:
    """Hold out the latest days, train on what was before, and replay both; None as in `judge`."""
    trained, begin_s = settings.ranker, tables.as_of_s - _held_out_s(settings, tables)
    every_s = int(max(HOUR_S, min(refresh_s, settings.hours * HOUR_S)))  # more often would tell the same for more
    window = Window(begin_s, tables.as_of_s, every_s, tables.as_of_s - begin_s)
    history = prepare_history(settings, tables, None, begin_s, orders)
    cases = _some(find_cases(history, window, positive_actions(tables)), len(tables.events.at_s), settings.seed)
    if len(cases) < _FEWEST_CASES:
        return None
    period = Period(settings, begin_s, every_s, (trained, *BASELINES), K, cases)
    shown = replay_period(history, period, report)
    if shown.models[trained] is None:
        return None
    hit = {ranker: hit_rate_at_k(hits_of(top, cases.posts)) for ranker, top in shown.top.items()}
    best = max(BASELINES, key=lambda baseline: float(hit[baseline].mean()))
    apart = hit[trained] - hit[best]
    spread = interval_95(apart, cases.user)
    return Verdict(
        chosen=best if apart.mean() < 0 else trained,
        trained=float(hit[trained].mean()),
        baseline=best,
        of_baseline=float(hit[best].mean()),
        difference=float(apart.mean()),
        interval_95=None if np.isnan(spread) else spread,
        cases=len(cases),
        users=len(np.unique(cases.user)),
        begin_s=begin_s,
        as_of_s=tables.as_of_s,
    )


def positive_actions(tables: Tables) -> list[str]:
    """Return the actions that say more than that a post was shown."""
    return [action for action, grade in zip(tables.actions, tables.relevance.tolist(), strict=True) if grade > 0]


def _held_out_s(settings: BatchSettings, tables: Tables) -> int:
    """Return the seconds that are held out, whole hours."""
    times = tables.events.at_s
    log_s = tables.as_of_s - int(times[0]) if len(times) else 0
    return int(min(settings.gate_days * 24 * HOUR_S, _HELD_OUT_SHARE * log_s)) // HOUR_S * HOUR_S


def _some(cases: ReplayCases, n_events: int, seed: int) -> ReplayCases:
    """Draw refreshes, then cases, so that what the replay costs is bounded whatever the log."""
    random = np.random.default_rng(seed)
    moments = np.unique(cases.tau_s)
    most = max(_FEWEST_MOMENTS, _EVENTS_LOOKED_THROUGH // max(1, n_events))
    if len(moments) > most:
        cases = only(cases, np.isin(cases.tau_s, random.choice(moments, most, replace=False)))
    kept = np.ones(len(cases), dtype=bool)
    if len(cases) > _MOST_CASES:
        kept[random.choice(len(cases), len(cases) - _MOST_CASES, replace=False)] = False
    return only(cases, kept)


class _Kept:
    """The latest verdict, in the state folder."""

    def __init__(self, settings: BatchSettings, tables: Tables) -> None:
        self._path = settings.state / "gate.json"
        self._as_of_s = tables.as_of_s
        begins_s = int(tables.events.at_s[0]) if len(tables.events.at_s) else 0
        self._of = {"settings": config_digest(settings), "log_begins_s": begins_s}

    def read(self, young_h: float) -> Verdict | None:
        """Return it if it is of the same settings and log, not older than `young_h` and not of a later time."""
        try:
            found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            verdict = Verdict(**found.pop("verdict"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # there is none, or one of another version: a new one takes its place
        age_s = self._as_of_s - verdict.as_of_s
        return verdict if found == self._of and 0 <= age_s < young_h * HOUR_S else None

    def write(self, verdict: Verdict) -> None:
        """Keep it, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_name(f".gate.{os.getpid()}.json")
        unfinished.write_text(json.dumps({**self._of, "verdict": asdict(verdict)}, indent=1), encoding="utf-8")
        unfinished.replace(self._path)


class _Named:
    """Tells of the stages as those of the gate."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def stage(self, name: str, done: int, total: int | None) -> None:
        self._report.stage(f"gate: {name}", done, total)

    def note(self, text: str) -> None:
        self._report.note(f"gate: {text}")
