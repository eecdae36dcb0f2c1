"""Where the ranker misses: `python -m bench.misses --data FOLDER`, and how far more could be had at all.

Replays a log of choices with the ranker alone, and splits the cases by where the touched post stood, how old it was,
and what anybody had done with it by the refresh. Then it asks how many would have been hit by a ranker that knows what
all others do in the hour of the case, which nobody knows at its refresh.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.gate import positive_actions
from batch.metrics import hits_of, interval_95
from batch.pipeline import prepare_history
from batch.replay import ReplayCases, ReplayResult, replay
from batch.replay_pool import cores
from batch.tables import HOUR_S, Floats, Ints, Tables
from bench.notes import Silent
from bench.paired import K
from bench.quality_run import NoLogError, QualityRun, Span

RANKED = 50
"""Places that are looked at; posts beyond cannot be told apart, and cannot be moved up by the oracle."""
WEIGHTS = (0.25, 0.5, 1.0, 2.0)
"""What the logarithm of the others' touches may count beside the ranker's score; the best is picked in hindsight."""
_DAY_H = 24.0


@dataclass(frozen=True)
class Part:
    """Cases of one kind: their share of all, their hitrate, and their share of all misses."""

    name: str
    cases: float
    hitrate: float
    misses: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, and print where the misses are."""
    options = _options().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = QualityRun(options.data, Path(folder), quick=False)
        span = Span(options.log, options.begin, options.end, options.end)
        try:
            tables = run.tables(span)
        except NoLogError as error:
            print(f"error: {error}")
            return 2
        settings, window = run.settings(options.log), run.window(span, HOUR_S)
        positive = positive_actions(tables)
        result = replay(settings, tables, window, ["lightgbm"], positive, RANKED, Silent(), workers=cores())
        history = prepare_history(settings, tables, None, window.begin_s)
    hit = place_of_best(result.top["lightgbm"], result.cases.posts) < K
    told = _told(result.cases, [View(history, int(tau_s)) for tau_s in np.unique(result.cases.tau_s)])
    print(f"{len(hit):,} cases, hitrate@{K} {hit.mean():.4f} ± {interval_95(hit.astype(float), result.cases.user):.4f}")
    for title, parts in splits(result, told):
        print(f"\n| {title} | cases | hitrate | misses |\n| --- | ---: | ---: | ---: |")
        for part in parts:
            print(f"| {part.name} | {part.cases:.3f} | {part.hitrate:.3f} | {part.misses:.3f} |")
    known = by_weight(result, others_in_the_hour(tables, result))
    print("\nknowing what all others touch in the hour of the case:")
    print(", ".join(f"weight {weight:g}: {hits.mean():.4f}" for weight, hits in known.items()))
    print(f"{time.monotonic() - run.begun:.0f} s")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of interaction logs")
    parser.add_argument("--log", default="deskdrop")
    parser.add_argument("--from", dest="begin", default="2016-07-01")
    parser.add_argument("--to", dest="end", default="2016-07-15")
    return parser


def place_of_best(top: NDArray[np.int32], relevant: Sequence[Ints]) -> Ints:
    """Return at which place, from 0, each case's first touched post stands, the length of the list where none does."""
    hits = hits_of(top, relevant)
    return np.asarray(np.where(hits.any(axis=1), hits.argmax(axis=1), top.shape[1]), dtype=np.int64)


@dataclass(frozen=True)
class Told:
    """What the refresh knew of each case's touched posts, best of them; float64 (n_cases,).

    age_h : of the newest, inf for unknown. touches_1h : users who came to one in the hour before, at most. idle_h :
    hours since anybody touched one, at least, inf for never.
    """

    age_h: Floats
    touches_1h: Floats
    idle_h: Floats


def _told(cases: ReplayCases, views: Iterable[View]) -> Told:
    found = np.full((3, len(cases)), np.inf)
    for view in views:
        touches = view.touches(1)
        for at in np.flatnonzero(cases.tau_s == view.tau_s):
            posts = cases.posts[at]
            since = (view.tau_s - np.stack([view.dated_s[posts], view.last_touch_s[posts]])) / HOUR_S
            age_h, idle_h = np.where(np.isnan(since), np.inf, since).min(axis=1)
            found[:, at] = age_h, touches[posts].max(), idle_h
    return Told(*found)


def splits(result: ReplayResult, told: Told) -> list[tuple[str, list[Part]]]:
    """Return the cases split in several ways."""
    place = place_of_best(result.top["lightgbm"], result.cases.posts)
    hit = place < K
    n_posts = np.array([len(posts) for posts in result.cases.posts])
    return [
        ("place of the best touched post", split(place + 1, hit, (K + 1, 11, 21, RANKED + 1))),
        ("hours since it was published", split(told.age_h, hit, (2, 8, _DAY_H, 3 * _DAY_H, 7 * _DAY_H))),
        ("users who came to it in the last hour", split(told.touches_1h, hit, (1, 2, 4))),
        ("hours since anybody touched it", split(told.idle_h, hit, (1, 4, _DAY_H, 3 * _DAY_H))),
        ("posts touched in the hour", split(n_posts, hit, (2, 3))),
        ("events of the user before", split(result.cases.n_before, hit, (1, 5, 20, 100))),
    ]


def split(values: NDArray[np.generic], hit: NDArray[np.bool_], bounds: Sequence[float]) -> list[Part]:
    """Split cases at `bounds`; empty parts are left out."""
    part = np.digitize(values.astype(np.float64), bounds)
    names = [
        f"below {bounds[0]:g}",
        *(f"{low:g} to below {high:g}" for low, high in pairwise(bounds)),
    ]
    names.append(f"{bounds[-1]:g} and more")
    misses = max(1, int((~hit).sum()))
    return [
        Part(name, float(at.mean()), float(hit[at].mean()), float((at & ~hit).sum() / misses))
        for name, at in ((name, part == code) for code, name in enumerate(names))
        if at.any()
    ]


def others_in_the_hour(tables: Tables, result: ReplayResult) -> Floats:
    """Count, for each post that was ranked, the other users' first touches in the hour of the case.

    float64 (n_cases, n_ranked).
    """
    cases, top = result.cases, result.top["lightgbm"]
    events, n_posts = tables.events, len(tables.posts.ids)
    pair = events.user.astype(np.int64) * n_posts + events.post
    first = np.zeros(len(pair), dtype=bool)
    first[np.unique(pair, return_index=True)[1]] = True
    cell = events.at_s[first] // HOUR_S * n_posts + events.post[first]
    met, counts = np.unique(cell, return_counts=True)
    asked = (cases.at_s // HOUR_S)[:, None] * n_posts + np.maximum(top, 0)
    at = np.minimum(np.searchsorted(met, asked), len(met) - 1)
    return np.where(met[at] == asked, counts[at], 0) - hits_of(top, cases.posts).astype(np.float64)


def by_weight(result: ReplayResult, others: Floats) -> dict[float, NDArray[np.bool_]]:
    """Say, for each weight of what the others do, which cases are hit when the ranked posts are ordered anew."""
    top, scores = result.top["lightgbm"], result.scores["lightgbm"]
    known = np.where(top >= 0, scores, -np.inf)
    found = {}
    for weight in WEIGHTS:
        order = np.argsort(-(known + weight * np.log1p(others)), axis=1, kind="stable")
        again = np.take_along_axis(top, order, axis=1)
        found[weight] = place_of_best(again, result.cases.posts) < K
    return found


if __name__ == "__main__":
    raise SystemExit(main())
