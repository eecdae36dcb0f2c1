"""Tables in Markdown, and the generated blocks of a page that hold them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


class BlockError(Exception):
    """A page has no place for what was to be written into it."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the first column names the rows, the others hold numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rate(value: float, half: float | None = None) -> str:
    """Write a share as the page does: `.651 ± .018`."""
    return _short(value) if half is None else f"{_short(value)} ± {_short(half)}"


def signed(mean: float, low: float, high: float) -> str:
    """Write a difference with the ends of its interval: `+.053 (+.031 to +.075)`."""
    return f"{_short(mean, '+')} ({_short(low, '+')} to {_short(high, '+')})"


def _short(value: float, sign: str = "") -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{sign}.3f}")


def rewrite(text: str, blocks: Mapping[str, str]) -> str:
    """Return the page's text with the contents of the named blocks replaced; raise BlockError where one is missing.

    A block lies between the lines `<!-- figures: NAME -->` and `<!-- end of NAME -->`.
    """
    for name, content in blocks.items():
        begin, end = f"<!-- figures: {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            msg = f"there is no block {begin.strip()} … {end} to write into"
            raise BlockError(msg)
        text = f"{before}{begin}\n{content.strip()}\n\n{end}{after}"
    return text


def rewrite_page(path: Path, blocks: Mapping[str, str]) -> None:
    """Replace the contents of the named blocks of a page."""
    path.write_text(rewrite(path.read_text(encoding="utf-8"), blocks), encoding="utf-8")
