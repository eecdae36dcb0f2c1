"""What a replay says of each ranker: metrics with intervals, in all and by part, as one JSON document."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.metrics import Hits, hit_rate_at_k, interval_95, map_at_k, ndcg_at_k, recall_at_k
from batch.model import Model
from batch.replay import LAG_BLIND, ReplayResult
from batch.tables import Floats, Ints
from batch.train import as_booster

HISTORY_BOUNDS = (0, 1, 5, 20, 100)
"""Users are grouped by how many events they had before the refresh: none, 1 to 4, 5 to 19, 20 to 99, 100 and more."""


NAMES = {"lightgbm": "hourfeed", LAG_BLIND: "hourfeed_lag_blind"}
"""What the trained rankers are called in the figures."""
_BINS = 10
_FEWEST_IN_BIN = 20


@dataclass(frozen=True)
class _Shown:
    """What one ranker has shown: posts, int32 (n_cases, k); and which of them hit."""

    posts: NDArray[np.int32]
    hits: Hits


def summarise(result: ReplayResult, k: int) -> dict[str, Any]:
    """Return figures of every ranker: {"cases": n, "models": {ranker: {"hitrate@5": …, "interval_95": …, …}}}."""
    cases = result.cases
    n_relevant = np.array([len(posts) for posts in cases.posts], dtype=np.int64)
    moments = [datetime.fromtimestamp(at_s, UTC) for at_s in cases.at_s.tolist()]
    history = np.searchsorted(HISTORY_BOUNDS, cases.n_before, side="right") - 1
    groups = {
        "by_day": [f"{moment:%Y-%m-%d}" for moment in moments],
        "by_hour": [f"{moment:%H}" for moment in moments],
        "by_history": [_history_name(at) for at in history.tolist()],
    }
    in_order = {"by_history": [_history_name(at) for at in range(len(HISTORY_BOUNDS))]}
    models: dict[str, dict[str, Any]] = {}
    for ranker, posts in result.top.items():
        shown = _Shown(posts, _hits(posts, cases.posts))
        hit = hit_rate_at_k(shown.hits)
        models[NAMES.get(ranker, ranker)] = {
            f"hitrate@{k}": _mean(hit),
            "interval_95": _rounded(interval_95(hit, cases.user)),
            f"ndcg@{k}": _mean(ndcg_at_k(shown.hits, n_relevant)),
            f"map@{k}": _mean(map_at_k(shown.hits, n_relevant)),
            f"recall@{k}": _mean(recall_at_k(shown.hits, n_relevant)),
            **_variety(result, posts),
            **{part: _by(names, in_order.get(part), hit, cases.user) for part, names in groups.items()},
        }
        if ranker in result.scores:
            models[NAMES[ranker]] |= {
                "calibration": calibration(result.scores[ranker], shown.hits),
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
    models = {}
    for ranker, posts in result.top.items():
        hit = hit_rate_at_k(_hits(posts, cases.posts))
        of_all = np.concatenate([hit, np.zeros(len(late))])
        models[NAMES.get(ranker, ranker)] = {
            f"hitrate@{k}": _mean(hit),
            "interval_95": _rounded(interval_95(hit, cases.user)),
            f"all_hitrate@{k}": _mean(of_all),
            "all_interval_95": _rounded(interval_95(of_all, user)),
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
    """Return each feature's share of the loss that the trees take away, summed over the parts; greatest first."""
    gain: dict[str, float] = {}
    of_column = as_booster(model.trees).feature_importance("gain")
    for column, value in zip(model.columns, of_column.tolist(), strict=True):
        gain[column.name] = gain.get(column.name, 0.0) + value
    total = sum(gain.values())
    by_gain = sorted(gain.items(), key=lambda entry: (-entry[1], entry[0]))
    return {name: round(value / total, 4) for name, value in by_gain} if total else {}


def _by(names: list[str], in_order: list[str] | None, hit: Floats, user: Ints) -> dict[str, Any]:
    name = np.array(names, dtype=str)
    met = set(names)
    found = [entry for entry in in_order if entry in met] if in_order else sorted(met)
    return {entry: _group(hit[name == entry], user[name == entry]) for entry in found}


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
