"""The page: the figures of a replay as one HTML file with pictures, and the table behind each of them."""

from collections.abc import Sequence
from html import escape
from typing import Any

from batch.report import parts
from batch.report.parts import section
from charts.svg import Point, Series, bar_chart, line_chart, per_cent

_OURS = "hourfeed"
_BESIDE = 2
"""Baselines that are drawn beside our ranker, the best ones."""
_FEATURES = 30
_COLUMNS = ("ndcg", "map", "recall")


def render(figures: dict[str, Any]) -> str:
    """Return the page of figures as `hourfeed evaluate --json` writes them."""
    page = _Page(figures)
    sections = (
        page.rankers(),
        page.over("by_day", "By day", "day (UTC)"),
        page.over("by_hour", "By hour of day", "hour of day (UTC)"),
        page.over("by_history", "By length of history", "events of the user before the refresh"),
        page.intervals(),
        page.variety(),
        page.calibration(),
        page.features(),
    )
    return parts.page(page.title, f"{page.head()}\n{''.join(sections)}")


class _Page:
    def __init__(self, figures: dict[str, Any]) -> None:
        self._figures = figures
        self._k = figures["k"]
        self._hitrate = f"hitrate@{self._k}"
        models = figures["models"]
        self._by_hitrate = sorted(models, key=lambda name: -(models[name][self._hitrate] or 0.0))
        ours = [name for name in self._by_hitrate if "calibration" in models[name]]  # of trained rankers alone
        beside = [name for name in self._by_hitrate if name not in ours]
        self._beside = beside
        drawn = sorted(ours, key=lambda name: name != _OURS) + beside[: max(1, _BESIDE + 1 - len(ours))]
        self._style = {name: f"s{at}" for at, name in enumerate(drawn[:4])}
        self.title = f"Replay {figures['from'][:10]} to {figures['to'][:10]}"

    def head(self) -> str:
        figures, models = self._figures, self._figures["models"]
        cold = " Only users without any event before the refresh." if figures["cold"] else ""
        about = (
            f"A refresh every {figures['every']}, a new model every {figures['retrain']}; a case is a user and an hour "
            f"with a first {' or '.join(figures['positive'])} of a post that was there at the last refresh.{cold}"
        )
        tiles = [(f"{figures['cases']:,}", "cases"), (f"{figures['users']:,}", "users")]
        if _OURS in models:
            tiles.append((_share(models[_OURS][self._hitrate]), f"{self._hitrate} of {_OURS}"))
        if self._beside:
            best = self._beside[0]
            tiles.append((_share(models[best][self._hitrate]), f"{self._hitrate} of {best}, the best baseline"))
        return parts.head(self.title, about, tiles)

    def rankers(self) -> str:
        models = self._figures["models"]
        rows = [
            (name, Point(models[name][self._hitrate], models[name]["interval_95"]), self._style.get(name, "rest"))
            for name in self._by_hitrate
        ]
        title = f"{self._hitrate} of every ranker"
        names = [self._hitrate, "± 95 %", *(f"{name}@{self._k}" for name in _COLUMNS), "novelty"]
        keys = [self._hitrate, "interval_95", *(f"{name}@{self._k}" for name in _COLUMNS), "novelty"]
        cells = [[name, *(_four(models[name][key]) for key in keys)] for name in self._by_hitrate]
        said = (
            f"The share of cases with a hit among the first {self._k} places. Intervals hold 95 % of the means when "
            "users are drawn anew."
        )
        return section("Rankers", said, bar_chart(title, rows), _table(title, ["ranker", *names], cells), opened=True)

    def over(self, part: str, title: str, axis: str) -> str:
        models = self._figures["models"]
        places = list(dict.fromkeys(place for name in self._style for place in models[name][part]))
        if part == "by_hour":
            places = [f"{hour:02}" for hour in range(24)]
        series = [
            Series(name, [_point(models[name][part].get(place)) for place in places], style)
            for name, style in self._style.items()
        ]
        cases = [next(iter(models.values()))[part].get(place, {}).get("cases", 0) for place in places]
        cells = [
            [place, f"{n:,}", *(_with_half(line.points[at]) for line in series)]
            for at, (place, n) in enumerate(zip(places, cases, strict=True))
        ]
        table = _table(title, [axis, "cases", *(line.name for line in series)], cells)
        picture = line_chart(f"{self._hitrate}: {title.lower()}", places, series, x=axis, y=self._hitrate)
        return section(title, "", picture, table) if places else ""

    def intervals(self) -> str:
        by_interval = self._figures["by_interval"]
        names = [name for name in self._by_hitrate if all(name in of["models"] for of in by_interval.values())]
        wanted = (f"all_{self._hitrate}", "all_interval_95")
        series = [
            Series(name, [Point(*(of["models"][name][key] for key in wanted)) for of in by_interval.values()], style)
            for name, style in self._style.items()
        ]
        headings = [f"{each} {which}" for each in by_interval for which in ("all", "there")]
        cells = [
            [
                name,
                *(
                    _four(of["models"][name][key])
                    for of in by_interval.values()
                    for key in (f"all_{self._hitrate}", self._hitrate)
                ),
            ]
            for name in names
        ]
        late = ", ".join(
            f"{_share(of['cases'] / of['all_cases'] if of['all_cases'] else None)} at {each}"
            for each, of in by_interval.items()
        )
        said = (
            "Of all users and hours with a first touch; where no touched post was there at the refresh, the case is "
            f"missed, so intervals can be compared. With such a post: {late}."
        )
        title = f"{self._hitrate} by refresh interval"
        picture = line_chart(title, list(by_interval), series, x="from one refresh to the next", y=self._hitrate)
        return section("By refresh interval", said, picture, _table(title, ["ranker", *headings], cells))

    def variety(self) -> str:
        models = self._figures["models"]
        pictures = "".join(
            f"<h3>{escape(title)}</h3>"
            + bar_chart(
                title, [(name, Point(models[name][key]), self._style.get(name, "rest")) for name in self._by_hitrate]
            )
            for key, title in (
                ("coverage", "Share of all posts that anybody was shown"),
                ("popular_share", "Share of all places that the ten posts shown most take"),
            )
        )
        keys = ("coverage", "popular_share", "novelty")
        cells = [[name, *(_four(models[name][key]) for key in keys)] for name in self._by_hitrate]
        table = _table("Variety of what is shown", ["ranker", *(key.replace("_", " ") for key in keys)], cells)
        return section("Variety", "Do all see the same few posts?", pictures, table)

    def calibration(self) -> str:
        bins = self._figures["models"].get(_OURS, {}).get("calibration")
        if not bins:
            return ""
        places = [f"{at + 1}" for at in range(len(bins))]
        points = [Point(entry["hit_share"], None, f"mean score {entry['score']:.2f}") for entry in bins]
        cells = [
            [place, f"{entry['shown']:,}", f"{entry['score']:.3f}", _share(entry["hit_share"])]
            for place, entry in zip(places, bins, strict=True)
        ]
        title = "Share of shown posts that hit, by tenth of the score"
        said = "All posts shown by our ranker, ordered by score and cut into equal parts. The line should rise."
        picture = line_chart(title, places, [Series(_OURS, points, "s0")], x="tenth of the scores", y="share that hit")
        return section(
            "Calibration", said, picture, _table(title, ["tenth", "shown", "mean score", "share that hit"], cells)
        )

    def features(self) -> str:
        gain = self._figures["models"].get(_OURS, {}).get("feature_gain")
        if not gain:
            return ""
        rows = [(name, Point(value), "s0") for name, value in list(gain.items())[:_FEATURES]]
        title = "Share of the gain of all trees, by feature"
        said = f"Of the last model, summed over its parts; {min(len(gain), _FEATURES)} of {len(gain)} features."
        cells = [[name, per_cent(value)] for name, value in gain.items()]
        return section("Features", said, bar_chart(title, rows), _table(title, ["feature", "share of gain"], cells))


def _point(group: dict[str, Any] | None) -> Point:
    if group is None:
        return Point(None)
    return Point(group["hitrate"], group["interval_95"], f"{group['cases']:,} cases")


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return parts.table(caption, headings, rows, _OURS)


def _share(value: float | None) -> str:
    return "–" if value is None else per_cent(value)


def _four(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _with_half(point: Point) -> str:
    if point.value is None:
        return "–"
    return per_cent(point.value) + (f" ± {100 * point.half:.1f}" if point.half else "")
