"""The charts of the replay's report as SVG files of their own, to stand in a page of Markdown."""

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files

from charts import STYLE
from charts.svg import Point, Series, bar_chart, line_chart, per_cent, tick_per_cent

_LEGEND = 28
_BESIDE = 180
"""Height of the legend, and width of a name in it, in the units of the picture."""


def standalone(
    title: str,
    places: Sequence[str],
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    write: Callable[[float], str] = per_cent,
    tick: Callable[[float], str] = tick_per_cent,
    most: float = 1.0,
) -> str:
    """Draw a chart of lines; values as in line_chart."""
    chart = line_chart(title, places, series, x=x, y=y, write=write, tick=tick, most=most)
    return _framed(title, chart, [(line.name, line.style) for line in series])


def standalone_bars(
    title: str, rows: Sequence[tuple[str, Point, str]], write: Callable[[float], str], legend: Sequence[tuple[str, str]]
) -> str:
    """Draw a chart of bars; `rows` and `write` as in bar_chart, `legend` : what each style stands for."""
    return _framed(title, bar_chart(title, rows, write), legend)


def _framed(title: str, chart: str, legend: Sequence[tuple[str, str]]) -> str:
    """Return the chart with the page's style, a ground of its own, and a legend inside of (name, style)."""
    head, _, body = chart.partition("</svg>")[0].partition(">")
    width, height = (int(part) for part in head.split('viewBox="0 0 ')[1].split('"')[0].split())
    style = STYLE + files("batch.report").joinpath("page.css").read_text(encoding="utf-8")
    names = "".join(
        f'<g class="{line}"><path class="line" d="M{60 + at * _BESIDE} {height + 14}h24"/>'
        f'<text x="{90 + at * _BESIDE}" y="{height + 18}">{escape(name)}</text></g>'
        for at, (name, line) in enumerate(legend)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + _LEGEND}" role="img" '
        f'aria-label="{escape(title)}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="var(--paper)"/>{body}{names}</svg>\n'
    )
