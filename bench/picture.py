"""A line chart of the replay's report as an SVG file of its own, to stand in a page of Markdown."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from batch.report.charts import Series, line_chart

_LEGEND = 28
_BESIDE = 180
"""Height of the legend, and width of a name in it, in the units of the picture."""


def standalone(title: str, places: Sequence[str], series: Sequence[Series], *, x: str, y: str) -> str:
    """Draw the chart with the page's style, a ground of its own, and a legend inside."""
    chart = line_chart(title, places, series, x=x, y=y).partition("</svg>")[0]
    head, _, body = chart.partition(">")
    width, height = (int(part) for part in head.split('viewBox="0 0 ')[1].split('"')[0].split())
    style = files("batch.report").joinpath("page.css").read_text(encoding="utf-8")
    legend = "".join(
        f'<g class="{line.style}"><path class="line" d="M{60 + at * _BESIDE} {height + 14}h24"/>'
        f'<text x="{90 + at * _BESIDE}" y="{height + 18}">{escape(line.name)}</text></g>'
        for at, line in enumerate(series)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + _LEGEND}" role="img" '
        f'aria-label="{escape(title)}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="var(--paper)"/>{body}{legend}</svg>\n'
    )
