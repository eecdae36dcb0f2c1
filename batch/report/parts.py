"""What reports are put together from: the page around, a section with its picture, and the table behind it."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from charts import STYLE


def page(title: str, body: str) -> str:
    """Return a whole page: one file that asks nothing of other hosts. `body` is HTML."""
    style = STYLE + files("batch.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{body}</main>\n</body>\n</html>\n"
    )


def head(title: str, about: str, figures: Sequence[tuple[str, str]]) -> str:
    """Return the top of a page; `figures` are values and what they are."""
    shown = "".join(f"<li><b>{escape(value)}</b> {escape(name)}</li>" for value, name in figures)
    return f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(about)}</p>\n<ul class="figures">{shown}</ul>'


def section(title: str, said: str, picture: str, table: str, *, opened: bool = False) -> str:
    """Return a section; `picture` and `table` are HTML."""
    note = f'<p class="soft">{escape(said)}</p>' if said else ""
    state = ' open=""' if opened else ""
    return (
        f"<section>\n<h2>{escape(title)}</h2>\n{note}<figure>{picture}</figure>\n"
        f"<details{state}><summary>as a table</summary>{table}</details>\n</section>\n"
    )


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], marked: str = "") -> str:
    """Return a table whose first column names the rows; rows whose name begins with `marked`, if any, stand out."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    body = "".join(
        f'<tr{_ours(row[0], marked)}><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _ours(name: str, marked: str) -> str:
    return ' class="ours"' if marked and name.startswith(marked) else ""
