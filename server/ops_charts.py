"""The charts of the operations page, from manifests and counts."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from charts.svg import Point, Series, bar_chart, line_chart, stacked_bars, strip
from slates.bucket import bucket_name
from slates.manifest import Manifest

_STYLES = ("s0", "s1", "s2", "s3", "s4", "s5")
_REST = "the rest"
RUNGS = ("exact", "same_hour", "previous", "segment", "popular", "memory", "disk")


def stages_chart(runs: Sequence[Manifest]) -> Markup:
    """Draw the seconds of each run by stage: the longest stages by name, the others together."""
    total: dict[str, float] = {}
    for run in runs:
        for stage, seconds in run.seconds.items():
            total[stage] = total.get(stage, 0.0) + seconds
    named = sorted(total, key=lambda stage: -total[stage])[: len(_STYLES)]
    rows = []
    for run in runs:
        parts = [(stage, run.seconds[stage]) for stage in named if stage in run.seconds]
        rest = sum(seconds for stage, seconds in run.seconds.items() if stage not in named)
        rows.append((run.id, [*parts, (_REST, rest)]))
    styles = {**dict(zip(named, _STYLES, strict=False)), _REST: "rest"}
    return Markup(stacked_bars("Seconds of each run, by stage", rows, styles))  # noqa: S704 - charts escape what they are given


def hitrate_chart(runs: Sequence[Manifest]) -> Markup | None:
    """Draw what the gate measured, oldest run first; the interval is that of the difference. None where it did not."""
    judged = [run for run in reversed(runs) if run.gate]
    if not judged:
        return None
    trained = [Point(run.gate["trained"], run.gate["interval_95"], f"{run.gate['cases']:,} cases") for run in judged]
    baseline = [Point(run.gate["of_baseline"], None, run.gate["baseline"]) for run in judged]
    series = [Series("trained ranker", trained, "s0"), Series("best baseline", baseline, "s1")]
    places = [f"{run.as_of:%m-%d %H:%M}" for run in judged]
    drawn = line_chart("hitrate@5 of the gate, by run", places, series, x="as of (UTC)", y="hitrate@5")
    return Markup(drawn)  # noqa: S704


def rungs_chart(feeds: Mapping[str, float]) -> Markup | None:
    """Draw the share of feeds by rung, and say how many; None where there were none yet."""
    total = sum(feeds.values())
    if not total:
        return None
    rows = [(rung, Point(feeds.get(rung, 0) / total, None, f"{feeds.get(rung, 0):,.0f} feeds"), "s0") for rung in RUNGS]
    return Markup(bar_chart("Feeds by rung", rows, span=1.0))  # noqa: S704


def bucket_strips(live: Manifest) -> dict[str, Markup]:
    """Draw coverage and overlap by bucket, where the manifest has them."""
    found = {}
    for name, shares in live.by_bucket.items():
        cells = [(bucket_name(live.first_bucket + place), share) for place, share in enumerate(shares)]
        found[name] = Markup(strip(f"{name} by bucket", cells))  # noqa: S704
    return found
