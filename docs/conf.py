"""The pages as a site: `make site` builds it with Sphinx, and every warning is an error.

The source folder is the repository, so that the links between README, docs/ and deploy/ are the same ones here and
where the files are read as they are. A page that is not in NAVIGATION is a warning.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

project = "hourfeed"
html_title = "hourfeed"
root_doc = "README"
extensions = ["myst_parser"]
include_patterns = ["README.md", "CHANGELOG.md", "docs/**.md", "deploy/**.md"]
exclude_patterns = [".venv", ".git", ".hourfeed", "site", "bench/results"]
nitpicky = True

myst_heading_anchors = 4  # so that links to headings work as they do on a forge

html_theme = "furo"
html_favicon = "icon.svg"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

NAVIGATION = {
    "Begin": ["docs/quickstart", "docs/connect", "docs/load", "docs/glossary"],
    "Use": ["docs/api", "docs/events", "docs/experiments", "docs/rules", "docs/text", "docs/evaluation"],
    "Run": ["deploy/README", "docs/operations", "docs/reliability", "docs/security", "docs/scale", "docs/event-log"],
    "Look up": ["docs/settings", "docs/features", "docs/redis"],
    "Figures": ["docs/performance", "docs/quality"],
    "Project": ["docs/decisions/README", "CHANGELOG"],
}
"""Captions of the menu, and the pages below them."""


def _unlink_folders(app: Any, name: str, source: list[str]) -> None:
    """Leave the text alone of links to folders: a forge shows a folder, a site has nothing to show."""
    here = (Path(app.srcdir) / name).parent
    link = re.compile(r"\[([^\]]+)\]\(([^)#:]+)\)")
    source[0] = link.sub(lambda found: found[1] if (here / found[2]).is_dir() else found[0], source[0])


def _add_menu(_app: Any, name: str, source: list[str]) -> None:
    """Put the menu at the end of the first page, and the records at the end of theirs."""
    if name == root_doc:
        source[0] += "".join(_menu(pages, hidden=True, caption=caption) for caption, pages in NAVIGATION.items())
    if name == "docs/decisions/README":
        source[0] += _menu(["0*"], hidden=False)


def _menu(pages: list[str], *, hidden: bool, caption: str = "") -> str:
    options = [":glob:", ":titlesonly:", ":hidden:" if hidden else "", f":caption: {caption}" if caption else ""]
    return "\n\n```{toctree}\n" + "\n".join([*filter(None, options), "", *pages]) + "\n```\n"


def _reach_by_keyboard(_app: Any, _name: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Let a keyboard scroll what is wider than the screen, and tell screen readers how deep the menu's captions are."""
    if "body" in context:
        context["body"] = re.sub(r'<(pre|div class="table-wrapper[^>]*)>', r'<\1 tabindex="0">', context["body"])
    menu = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = menu.replace('role="heading"', 'role="heading" aria-level="2"')


def _name_first_page(app: Any, failure: Exception | None) -> None:
    """Let the first page be found under the name that web servers look for; it lies in the same folder."""
    if failure is None:
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Any) -> None:
    """Add all this to Sphinx."""
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", _unlink_folders)
    app.connect("source-read", _add_menu)
    app.connect("html-page-context", _reach_by_keyboard, priority=900)  # after the theme has made the menu
    app.connect("build-finished", _name_first_page)
