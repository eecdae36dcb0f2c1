"""Two kinds of picture as inline SVG: lines over named places, and horizontal bars. Colours come from the page's style.

Every mark has a title, which browsers show on hover and screen readers read out; the page puts the table behind it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 42
_TICKS = 5
_CHARACTER = 7.0
"""Width of a letter of an axis, in the units of the picture."""
_ROW, _NAME_WIDTH, _VALUE_WIDTH = 24, 190, 130


@dataclass(frozen=True)
class Point:
    """A value, None where there is none, with half the width of its interval where one is known."""

    value: float | None
    half: float | None = None
    about: str = ""


@dataclass(frozen=True)
class Series:
    """A line of a picture: one point for each place of the axis; `style` is its class in the page."""

    name: str
    points: Sequence[Point]
    style: str


def per_cent(value: float) -> str:
    """Write a share."""
    return f"{100 * value:.1f} %"


def tick_per_cent(value: float) -> str:
    """Write a share beside an axis."""
    return f"{100 * value:.3g} %"


def line_chart(
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
    """Draw a line with intervals for each series over the places, from zero to `most` at the highest.

    write, tick : how values are written in the titles of marks, and beside the axis; by default as shares.
    """
    highest = max(((p.value or 0.0) + (p.half or 0.0) for line in series for p in line.points), default=0.0)
    top, step = _scale(min(highest, most))
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    at = [_LEFT + plot_width * (place + 0.5) / max(1, len(places)) for place in range(len(places))]

    def height(value: float) -> float:
        return _TOP + plot_height * (1 - min(max(value, 0.0), top) / top)

    parts = [*_grid(top, step, height, tick), *_places(places, at)]
    for order, line in enumerate(series):
        aside = (order - (len(series) - 1) / 2) * min(6.0, plot_width / max(1, len(places)) / (len(series) + 1))
        parts.append(_line(line, places, [place + aside for place in at], height, write))
    parts.append(_text(_LEFT + plot_width / 2, _HEIGHT - 4, x, "middle"))
    parts.append(
        f'<text class="axis" transform="rotate(-90 12 {_TOP + plot_height / 2:.0f})" x="12" '
        f'y="{_TOP + plot_height / 2:.0f}" text-anchor="middle">{escape(y)}</text>'
    )
    return _svg(title, _HEIGHT, parts) + _legend(series)


def bar_chart(
    title: str, rows: Sequence[tuple[str, Point, str]], write: Callable[[float], str] = per_cent, *, span: float = 0.0
) -> str:
    """Draw a horizontal bar for each (name, value, style), with intervals; `span` is the end of the axis, if known."""
    longest = max([span, *((p.value or 0.0) + (p.half or 0.0) for _, p, _ in rows)]) or 1.0
    width = _WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    parts = []
    for row, (name, point, style) in enumerate(rows):
        y = row * _ROW
        value = point.value or 0.0
        said = _said(name, point, write)
        parts.append(f'<g class="{style}"><title>{escape(said)}</title>')
        parts.append(_text(_NAME_WIDTH - 8, y + 16, name, "end", "name"))
        parts.append(
            f'<rect class="bar" x="{_NAME_WIDTH}" y="{y + 4}" height="{_ROW - 8}" '
            f'width="{width * value / longest:.1f}"/>'
        )
        end = value
        if point.half:
            end += point.half
            low, high = (
                _NAME_WIDTH + width * max(0.0, edge) / longest for edge in (value - point.half, value + point.half)
            )
            parts.append(f'<path class="whisker" d="M{low:.1f} {y + 12}H{high:.1f}"/>')
        shown = "–" if point.value is None else write(point.value)
        shown += f" ± {100 * point.half:.1f}" if point.half else ""
        parts.append(_text(_NAME_WIDTH + width * end / longest + 8, y + 16, shown, "start") + "</g>")
    return _svg(title, max(1, len(rows)) * _ROW + 4, parts)


def _scale(highest: float) -> tuple[float, float]:
    """Return the end of an axis and the step of its grid: 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return 1.0, 0.2
    rough = highest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return step * math.ceil(round(highest / step, 9)), step


def _grid(top: float, step: float, height: Callable[[float], float], write: Callable[[float], str]) -> list[str]:
    parts = []
    for tick in range(round(top / step) + 1):
        y = height(tick * step)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(_text(_LEFT - 6, y + 4, write(tick * step), "end"))
    return parts


def _places(places: Sequence[str], at: Sequence[float]) -> list[str]:
    """Write as many of the names as fit beside each other."""
    room = (_WIDTH - _LEFT - _RIGHT) / max(1, len(places))
    widest = _CHARACTER * max((len(name) for name in places), default=1) + 6
    every = max(1, math.ceil(widest / room))
    y = _HEIGHT - _BOTTOM + 16
    return [_text(at[p], y, name, "middle") for p, name in enumerate(places) if p % every == 0]


def _line(
    line: Series,
    places: Sequence[str],
    at: Sequence[float],
    height: Callable[[float], float],
    write: Callable[[float], str],
) -> str:
    parts, path, gap = [f'<g class="{line.style}">'], "", True
    for x, point in zip(at, line.points, strict=True):
        if point.value is None:
            gap = True
            continue
        path += f"{'M' if gap else 'L'}{x:.1f} {height(point.value):.1f}"
        gap = False
        if point.half:
            low, high = height(point.value - point.half), height(point.value + point.half)
            parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
    parts.append(f'<path class="line" d="{path}"/>')
    for x, place, point in zip(at, places, line.points, strict=True):
        if point.value is not None:
            said = _said(f"{line.name}, {place}", point, write)
            parts.append(
                f'<circle class="dot" cx="{x:.1f}" cy="{height(point.value):.1f}" r="3.4">'
                f"<title>{escape(said)}</title></circle>"
            )
    return "".join(parts) + "</g>"


def _said(name: str, point: Point, write: Callable[[float], str]) -> str:
    value = "none" if point.value is None else write(point.value)
    half = f" ± {100 * point.half:.1f}" if point.half else ""
    return f"{name}: {value}{half}" + (f" ({point.about})" if point.about else "")


def _legend(series: Sequence[Series]) -> str:
    items = "".join(f'<li class="{line.style}"><i></i>{escape(line.name)}</li>' for line in series)
    return f'<ul class="legend">{items}</ul>'


def _text(x: float, y: float, text: str, anchor: str, style: str = "axis") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def stacked_bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], styles: Mapping[str, str]) -> str:
    """Draw a bar of parts for each (name, [(part, seconds), …]); `styles` gives the class of each part, in order."""
    longest = max((sum(value for _, value in parts) for _, parts in rows), default=0.0) or 1.0
    width = _WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    drawn = []
    for row, (name, parts) in enumerate(rows):
        y, x = row * _ROW, float(_NAME_WIDTH)
        drawn.append(_text(_NAME_WIDTH - 8, y + 16, name, "end", "name"))
        for part, value in parts:
            wide = width * value / longest
            drawn.append(
                f'<g class="{styles[part]}"><title>{escape(f"{name}: {part} {value:.1f} s")}</title>'
                f'<rect class="bar" x="{x:.1f}" y="{y + 4}" height="{_ROW - 8}" width="{wide:.1f}"/></g>'
            )
            x += wide
        drawn.append(_text(x + 8, y + 16, f"{sum(value for _, value in parts):,.1f} s", "start"))
    items = "".join(f'<li class="{style}"><i></i>{escape(part)}</li>' for part, style in styles.items())
    return _svg(title, max(1, len(rows)) * _ROW + 4, drawn) + f'<ul class="legend">{items}</ul>'


def strip(title: str, cells: Sequence[tuple[str, float]]) -> str:
    """Draw a row of cells for (name, share from 0 to 1): the fuller a cell, the larger the share."""
    width, height = (_WIDTH - 4) / max(1, len(cells)), 44
    drawn = []
    for place, (name, share) in enumerate(cells):
        x, tall = 2 + place * width, height * min(max(share, 0.0), 1.0)
        drawn.append(
            f'<g class="s0"><title>{escape(f"{name}: {per_cent(share)}")}</title>'
            f'<rect class="cell" x="{x:.1f}" y="4" width="{width - 2:.1f}" height="{height}"/>'
            f'<rect class="bar" x="{x:.1f}" y="{4 + height - tall:.1f}" width="{width - 2:.1f}" height="{tall:.1f}"/>'
            "</g>"
        )
        if place % max(1, math.ceil(40 / width)) == 0:
            drawn.append(_text(x + width / 2 - 1, height + 20, name[-2:], "middle"))
    return _svg(title, height + 26, drawn)
