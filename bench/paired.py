"""How our ranker does beside the others on the same cases."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from batch.evaluate import NAMES
from batch.metrics import hit_rate_at_k, hits_of, intervals_95
from batch.replay import ReplayResult
from batch.tables import Floats, Ints

K = 5
OURS = "hourfeed"


def hit_by_case(result: ReplayResult, among: NDArray[np.bool_] | None = None) -> dict[str, Floats]:
    """Return 1 for each case with a hit, else 0, by ranker as it is called in figures; `among`: these cases alone."""
    kept = slice(None) if among is None else among
    posts = result.cases.posts
    return {NAMES.get(name, name): hit_rate_at_k(hits_of(top, posts))[kept] for name, top in result.top.items()}


def best_baseline(hit: Mapping[str, Floats]) -> str:
    """Return who hits most beside our ranker, in whatever form it takes part."""
    return max((name for name in hit if not name.startswith(OURS)), key=lambda name: hit[name].mean())


def compare(hit: Mapping[str, Floats], user: Ints) -> dict[str, float]:
    """Return every ranker's hitrate with its interval, and how far ours is from the best baseline.

    hit : by ranker, (n_cases,). user : whose case it is, int64 (n_cases,). `difference` is that of ours and the best
    baseline on the same cases; its ends hold 95 % of the means when users are drawn anew.
    """
    names = list(hit)
    rows = [hit[name] for name in names]
    figures: dict[str, float] = {"cases": len(user)}
    for name, values, half in zip(names, rows, intervals_95(np.stack(rows), user), strict=True):
        figures |= {f"{name}.hitrate@{K}": round(float(values.mean()), 4), f"{name}.interval_95": round(float(half), 4)}
    if OURS not in hit or len(hit) < 2:  # nothing to compare
        return figures
    baseline = hit[best_baseline(hit)]
    figures[f"best_baseline.hitrate@{K}"] = round(float(baseline.mean()), 4)
    figures["ratio"] = round(float(hit[OURS].mean() / baseline.mean()), 4)
    return figures | {f"difference.{end}": value for end, value in difference(hit[OURS], baseline, user).items()}


def difference(hit: Floats, other: Floats, user: Ints) -> dict[str, float]:
    """Return mean of hit - other by case, and the ends of its 95 % interval by a bootstrap over users."""
    apart = hit - other
    mean, half = float(apart.mean()), float(intervals_95(apart[None], user)[0])
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}
