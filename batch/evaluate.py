"""What a replay says of each ranker: metrics with intervals, by day and by length of history, as one JSON document."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.metrics import Hits, hit_rate_at_k, interval_95, map_at_k, ndcg_at_k, recall_at_k
from batch.replay import ReplayResult
from batch.tables import Floats, Ints

HISTORY_BOUNDS = (0, 1, 5, 20, 100)
"""Users are grouped by how many events they had before the refresh: none, 1 to 4, 5 to 19, 20 to 99, 100 and more."""


@dataclass(frozen=True)
class _Shown:
    """What one ranker has shown: posts, int32 (n_cases, k); and which of them hit."""

    posts: NDArray[np.int32]
    hits: Hits


def summarise(result: ReplayResult, k: int) -> dict[str, Any]:
    """Return figures of every ranker: {"cases": n, "models": {ranker: {"hitrate@5": …, "interval_95": …, …}}}."""
    cases = result.cases
    n_relevant = np.array([len(posts) for posts in cases.posts], dtype=np.int64)
    days = np.array([f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}" for at_s in cases.at_s.tolist()], dtype=str)
    group = np.searchsorted(HISTORY_BOUNDS, cases.n_before, side="right") - 1
    models = {}
    for ranker, posts in result.top.items():
        shown = _Shown(posts, _hits(posts, cases.posts))
        hit = hit_rate_at_k(shown.hits)
        models["hourfeed" if ranker == "lightgbm" else ranker] = {
            f"hitrate@{k}": _mean(hit),
            "interval_95": _rounded(interval_95(hit, cases.user)),
            f"ndcg@{k}": _mean(ndcg_at_k(shown.hits, n_relevant)),
            f"map@{k}": _mean(map_at_k(shown.hits, n_relevant)),
            f"recall@{k}": _mean(recall_at_k(shown.hits, n_relevant)),
            **_variety(result, posts),
            "by_day": {str(day): _group(hit[days == day], cases.user[days == day]) for day in np.unique(days)},
            "by_history": {
                _history_name(at): _group(hit[group == at], cases.user[group == at]) for at in np.unique(group).tolist()
            },
        }
    return {"cases": len(cases), "users": len(np.unique(cases.user)), "models": models}


def _hits(top: NDArray[np.int32], relevant: list[Ints]) -> Hits:
    found = [np.isin(posts, wanted) for posts, wanted in zip(top, relevant, strict=True)]
    return np.array(found, dtype=bool).reshape(top.shape)


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


def _group(hit: Floats, user: Ints) -> dict[str, float | None]:
    return {"cases": len(hit), "hitrate": _mean(hit), "interval_95": _rounded(interval_95(hit, user))}


def _history_name(at: int) -> str:
    low = HISTORY_BOUNDS[at]
    if at + 1 == len(HISTORY_BOUNDS):
        return f"{low}+"
    high = HISTORY_BOUNDS[at + 1] - 1
    return f"{low}" if low == high else f"{low}-{high}"


def _mean(values: Floats) -> float | None:
    return _rounded(values.mean()) if len(values) else None


def _rounded(value: float) -> float | None:
    """Return four decimals; None for a NaN, which JSON does not know."""
    return None if np.isnan(value) else round(float(value), 4)
