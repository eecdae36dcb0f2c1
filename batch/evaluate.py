"""What a replay says of each ranker: metrics with intervals, in all and by part, as one JSON document."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.metrics import Hits, hit_rate_at_k, hits_of, intervals_95, map_at_k, ndcg_at_k, recall_at_k
from batch.model import Model
from batch.replay import LAG_BLIND, ReplayResult
from batch.tables import HOUR_S, Floats, Ints
from batch.train import as_booster

HISTORY_BOUNDS = (0, 1, 2, 5, 20, 100)
"""Users are grouped by their events before the refresh: none, 1, 2 to 4, 5 to 19, 20 to 99, 100 and more."""


NAMES = {"lightgbm": "hourfeed", "neural": "neural", LAG_BLIND: "hourfeed_lag_blind"}
"""What the trained rankers are called in the figures."""
_BINS = 10
_FEWEST_IN_BIN = 20


def summarise(result: ReplayResult, k: int) -> dict[str, Any]:
    """Return figures of every ranker: {"cases": n, "models": {ranker: {"hitrate@5": …, "interval_95": …, …}}}."""
    cases = result.cases
    n_relevant = np.array([len(posts) for posts in cases.posts], dtype=np.int64)
    days, day = np.unique(cases.at_s // (24 * HOUR_S), return_inverse=True)
    groups: dict[str, tuple[Sequence[str], Ints]] = {
        "by_day": ([f"{datetime.fromtimestamp(at * 24 * HOUR_S, UTC):%Y-%m-%d}" for at in days.tolist()], day),
        "by_hour": ([f"{hour:02}" for hour in range(24)], cases.at_s // HOUR_S % 24),
        "by_history": (_HISTORIES, np.searchsorted(HISTORY_BOUNDS, cases.n_before, side="right") - 1),
    }
    hits = {ranker: hits_of(posts, cases.posts) for ranker, posts in result.top.items()}
    hit = _by_case(hits, len(cases))
    intervals = intervals_95(hit, cases.user)
    parts = {part: _by(names, code, hit, cases.user) for part, (names, code) in groups.items()}
    models: dict[str, dict[str, Any]] = {}
    for row, (ranker, posts) in enumerate(result.top.items()):
        models[NAMES.get(ranker, ranker)] = {
            f"hitrate@{k}": _mean(hit[row]),
            "interval_95": _rounded(intervals[row]),
            f"ndcg@{k}": _mean(ndcg_at_k(hits[ranker], n_relevant)),
            f"map@{k}": _mean(map_at_k(hits[ranker], n_relevant)),
            f"recall@{k}": _mean(recall_at_k(hits[ranker], n_relevant)),
            **_variety(result, posts),
            **{part: {name: of_rankers[row] for name, of_rankers in of.items()} for part, of in parts.items()},
        }
        if ranker in result.scores:
            models[NAMES.get(ranker, ranker)] |= {
                "calibration": calibration(result.scores[ranker], hits[ranker]),
                "feature_gain": feature_gain(result.models[ranker][-1]) if result.models[ranker] else {},
            }
    return {"cases": len(cases), "users": len(np.unique(cases.user)), "models": models}


def summarise_interval(result: ReplayResult, k: int) -> dict[str, Any]:
    """Return the hitrates that one refresh interval leaves.

    `hitrate@5` is that of the cases, `all_hitrate@5` that of all users and hours with first touches: those of posts
    which were not there at the refresh count as missed, so that intervals can be compared.
    """
    cases, late = result.cases, result.late
    user = np.concatenate([cases.user, late.user])
    hits = {ranker: hits_of(posts, cases.posts) for ranker, posts in result.top.items()}
    hit = _by_case(hits, len(cases))
    of_all = np.concatenate([hit, np.zeros((len(hits), len(late)))], axis=1)
    half, half_of_all = intervals_95(hit, cases.user), intervals_95(of_all, user)
    models = {
        NAMES.get(ranker, ranker): {
            f"hitrate@{k}": _mean(hit[row]),
            "interval_95": _rounded(half[row]),
            f"all_hitrate@{k}": _mean(of_all[row]),
            "all_interval_95": _rounded(half_of_all[row]),
        }
        for row, ranker in enumerate(hits)
    }
    return {"cases": len(cases), "all_cases": len(user), "models": models}


def calibration(scores: Floats, hits: Hits) -> list[dict[str, float | None]]:
    """Return, by tenths of the scores of all shown posts, ascending: their mean score, number and share that hit.

    A score of LambdaRank is no probability; but of posts with higher scores more should hit.
    """
    known = ~np.isnan(scores)
    score, hit = scores[known], hits[known].astype(np.float64)
    order = np.argsort(score, kind="stable")
    n_bins = min(_BINS, len(order) // _FEWEST_IN_BIN)
    return [
        {"score": _mean(score[at]), "shown": len(at), "hit_share": _mean(hit[at])}
        for at in (np.array_split(order, n_bins) if n_bins else [])
    ]


def feature_gain(model: Model) -> dict[str, float]:
    """Return each feature's share of the loss that the trees take away, summed over the parts; greatest first.

    A model without trees has none.
    """
    gain: dict[str, float] = {}
    of_column = as_booster(model.trees).feature_importance("gain").tolist() if model.trees else []
    for column, value in zip(model.columns, of_column, strict=True):
        gain[column.name] = gain.get(column.name, 0.0) + value
    total = sum(gain.values())
    by_gain = sorted(gain.items(), key=lambda entry: (-entry[1], entry[0]))
    return {name: round(value / total, 4) for name, value in by_gain} if total else {}


def _by(names: Sequence[str], code: Ints, hit: Floats, user: Ints) -> dict[str, list[dict[str, float | None]]]:
    """Return the hitrates of every ranker by group; `hit` is that of _by_case, `code` each case's place in `names`."""
    found = {}
    for group in np.unique(code).tolist():
        at = code == group
        half = intervals_95(hit[:, at], user[at])
        found[str(names[group])] = [
            {"cases": int(at.sum()), "hitrate": _mean(hit[row, at]), "interval_95": _rounded(half[row])}
            for row in range(len(hit))
        ]
    return found


def _by_case(hits: dict[str, Hits], n_cases: int) -> Floats:
    """Return the hitrate of each case; (n_rankers, n_cases)."""
    rows = [hit_rate_at_k(of_ranker) for of_ranker in hits.values()]
    return np.stack(rows) if rows else np.zeros((0, n_cases))


def _variety(result: ReplayResult, posts: NDArray[np.int32]) -> dict[str, float | None]:
    """Say how many posts are shown at all, how much of what is shown is the same few, and how unlikely it is.

    `coverage` is the share of all posts that were shown to anybody, `popular_share` that of the ten posts shown most
    among all places, `novelty` the mean of -log2 of the share of a post's events (Vargas and Castells, RecSys 2011).
    """
    shown = posts[posts >= 0]
    if not len(shown):
        return {"coverage": 0.0, "popular_share": 0.0, "novelty": 0.0}
    counts = np.bincount(shown, minlength=len(result.tables.posts.ids))
    events = np.bincount(result.tables.events.post, minlength=len(counts)) + 1.0
    return {
        "coverage": _rounded((counts > 0).mean()),
        "popular_share": _rounded(np.sort(counts)[-10:].sum() / counts.sum()),
        "novelty": _rounded(-np.log2(events / events.sum())[shown].mean()),
    }


def _history_name(at: int) -> str:
    low = HISTORY_BOUNDS[at]
    if at + 1 == len(HISTORY_BOUNDS):
        return f"{low}+"
    high = HISTORY_BOUNDS[at + 1] - 1
    return f"{low}" if low == high else f"{low}-{high}"


_HISTORIES = [_history_name(at) for at in range(len(HISTORY_BOUNDS))]


def _mean(values: Floats) -> float | None:
    return _rounded(values.mean()) if len(values) else None


def _rounded(value: float) -> float | None:
    """Return four decimals; None for a NaN, which JSON does not know."""
    return None if np.isnan(value) else round(float(value), 4)
