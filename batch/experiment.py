"""What came of an experiment: hits by arm, whether the arms are what they should be, and how sure a difference is."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sqlalchemy import Engine

from slates.codec import decode_slate
from slates.experiment import CONTROL, Experiment
from source.exposures import ExposureRow, read_exposures, read_responses
from source.schema import SourceSchema

WITHIN_S = 3_600
SAMPLES = 1_000
BUCKETS = 100
MISMATCH = 0.001
"""A sample ratio as unlikely as this is no accident."""
_AT_ONCE = 100


@dataclass(frozen=True)
class ArmFigures:
    """Of one arm; the rates are None where it has no view."""

    arm: str
    users: int
    views: int
    hitrate: float | None
    like_rate: float | None


@dataclass(frozen=True)
class Comparison:
    """An arm's hitrate minus that of control, the ends of its 95 % interval, and the Mann–Whitney test's p."""

    arm: str
    difference: float
    low: float
    high: float
    p_mann_whitney: float


@dataclass(frozen=True)
class ExperimentReport:
    """All that is told. p_sample_ratio : None without users. mixed_users : left out, as they were seen in two arms."""

    experiment: str
    arms: list[ArmFigures]
    comparisons: list[Comparison]
    p_sample_ratio: float | None
    mixed_users: int

    @property
    def is_mismatch(self) -> bool:
        """Say whether the arms have not got the users that they should have."""
        return self.p_sample_ratio is not None and self.p_sample_ratio < MISMATCH

    def lines(self) -> Iterator[str]:
        """Give the report as lines to read, the conclusion last."""
        yield f"{'arm':<16} {'users':>9} {'views':>10} {'hitrate':>9} {'like rate':>10}"
        for of in self.arms:
            yield f"{of.arm:<16} {of.users:>9,} {of.views:>10,} {_rate(of.hitrate):>9} {_rate(of.like_rate):>10}"
        if self.p_sample_ratio is not None:
            yield f"sample ratio: p = {self.p_sample_ratio:.4f}"
        if self.mixed_users:
            yield f"{self.mixed_users:,} users were seen in two arms, and are left out"
        for one in self.comparisons:
            yield (
                f"{one.arm} - {CONTROL}: {one.difference:+.4f}, 95 % from {one.low:+.4f} to {one.high:+.4f}; "
                f"Mann-Whitney of {BUCKETS} buckets: p = {one.p_mann_whitney:.4f}"
            )
        yield from self._conclusions()

    def _conclusions(self) -> Iterator[str]:
        if self.is_mismatch:
            yield "The arms have not got the users that their shares promise; mend that first, no figure holds."
            return
        if not self.comparisons:
            yield "Nothing can be compared yet: control and another arm need views."
        for one in self.comparisons:
            size = f"{abs(one.difference):.4f} ({one.low:+.4f} to {one.high:+.4f})"
            if one.low <= 0 <= one.high:
                yield f"Whether {one.arm} is better or worse than {CONTROL} cannot be told: the difference is {size}."
            else:
                way = "better" if one.difference > 0 else "worse"
                agrees = "agrees" if one.p_mann_whitney < 0.05 else "does not agree"
                yield f"{one.arm} is {way} than {CONTROL}, by a hitrate of {size}; the Mann-Whitney test {agrees}."


def report_on(
    engine: Engine, schema: SourceSchema, experiment: Experiment, responses: Sequence[str]
) -> ExperimentReport:
    """Read an experiment's exposures and what users responded within an hour, and compare the arms."""
    shown = read_exposures(engine, schema, experiment.name)
    if not shown:
        return compare(experiment, [], [])
    end = shown[-1].at + timedelta(seconds=WITHIN_S)
    return compare(experiment, shown, read_responses(engine, schema, responses, shown[0].at, end))


def compare(
    experiment: Experiment, shown: Sequence[ExposureRow], responses: Sequence[tuple[str, str, int]], seed: int = 0
) -> ExperimentReport:
    """Compare the arms; responses : (user id, post id, second since 1970)."""
    views = pd.DataFrame(
        {
            "user": pd.Series([row.user_id for row in shown], dtype=object),
            "arm": pd.Series([row.arm for row in shown], dtype=object),
            "at_s": np.array([int(row.at.timestamp()) for row in shown], dtype=np.int64),
            "post": pd.Series([decode_slate(row.posts.encode("ascii")) for row in shown], dtype=object),
        }
    )
    arms_of = views.groupby("user")["arm"].nunique()
    mixed = set(arms_of[arms_of > 1].index)
    views = views[~views["user"].isin(mixed)].reset_index(drop=True)
    likes = pd.DataFrame(responses, columns=["user", "post", "liked_s"], dtype=object).astype({"liked_s": np.int64})
    users = _by_user(views, likes)
    by_arm = {arm: users[users["arm"] == arm] for arm in experiment.shares}
    control = by_arm[CONTROL]
    others = [(arm, of) for arm, of in by_arm.items() if arm != CONTROL and len(of) and len(control)]
    return ExperimentReport(
        experiment.name,
        [_figures(arm, of) for arm, of in by_arm.items()],
        [_compared(arm, of, control, seed) for arm, of in others],
        _p_sample_ratio(experiment, [len(of) for of in by_arm.values()]),
        len(mixed),
    )


def _by_user(views: pd.DataFrame, responses: pd.DataFrame) -> pd.DataFrame:
    """Return for each user: arm, views, hits (views with a response), shown and liked (posts of all views)."""
    pairs = views.explode("post").dropna(subset=["post"]).reset_index(names="view").drop_duplicates(["view", "post"])
    both = pairs.merge(responses, on=["user", "post"])
    after_s = both["liked_s"] - both["at_s"]
    liked = both[(after_s >= 0) & (after_s <= WITHIN_S)].drop_duplicates(["view", "post"])
    counted = views.assign(
        shown=pairs.groupby("view").size().reindex(views.index, fill_value=0),
        liked=liked.groupby("view").size().reindex(views.index, fill_value=0),
    )
    counted = counted.assign(views=1, hits=(counted["liked"] > 0).astype(int))
    sums = counted.groupby("user")[["views", "hits", "shown", "liked"]].sum()
    return sums.assign(arm=counted.groupby("user")["arm"].first()).reset_index()


def _figures(arm: str, of: pd.DataFrame) -> ArmFigures:
    return ArmFigures(arm, len(of), int(of["views"].sum()), _ratio(of, "hits", "views"), _ratio(of, "liked", "shown"))


def _ratio(of: pd.DataFrame, part: str, whole: str) -> float | None:
    total = int(of[whole].sum())
    return round(int(of[part].sum()) / total, 6) if total else None


def _compared(arm: str, of: pd.DataFrame, control: pd.DataFrame, seed: int) -> Comparison:
    rng = np.random.default_rng(seed)
    difference = of["hits"].sum() / of["views"].sum() - control["hits"].sum() / control["views"].sum()
    drawn = _bootstrap(of, rng) - _bootstrap(control, rng)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    p = stats.mannwhitneyu(_bucket_rates(of), _bucket_rates(control), alternative="two-sided").pvalue
    return Comparison(arm, *(round(float(value), 6) for value in (difference, low, high, p)))


def _bootstrap(of: pd.DataFrame, rng: np.random.Generator) -> Any:
    """Return SAMPLES hitrates, each of the users drawn with replacement (by Poisson weights, which need no sorting)."""
    counts = of[["hits", "views"]].to_numpy(dtype=np.float64)
    rates = []
    for _ in range(SAMPLES // _AT_ONCE):
        hits, views = (rng.poisson(1.0, (_AT_ONCE, len(counts))) @ counts).T
        rates.append(np.divide(hits, views, out=np.full(_AT_ONCE, np.nan), where=views > 0))
    return np.concatenate(rates)


def _bucket_rates(of: pd.DataFrame) -> Any:
    """Return the hitrate of each bucket of users that has views."""
    buckets = [hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8).digest() for user in of["user"]]
    bucket = pd.Series([int.from_bytes(digest, "big") % BUCKETS for digest in buckets], index=of.index)
    sums = of.groupby(bucket)[["hits", "views"]].sum()
    return (sums["hits"] / sums["views"]).to_numpy()


def _p_sample_ratio(experiment: Experiment, users: Sequence[int]) -> float | None:
    total = sum(users)
    if not total:
        return None
    expected = np.array(list(experiment.shares.values())) * total
    expected *= total / expected.sum()
    return round(float(stats.chisquare(users, expected).pvalue), 6)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
