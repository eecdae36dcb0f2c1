"""Reads the pages of the documentation: fenced blocks, and those among them that are marked as golden."""

import re
from dataclasses import dataclass
from pathlib import Path

from slates.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")})

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its lines."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return all fenced blocks of a page."""
    return [Block(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


_SHELL = re.compile(
    r"(?:^<!-- (not run|run by)(.*?)-->\n(?:<!-- golden: [^\n]*\n)?)?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Commands:
    """A shell block; what stands in a comment before it: `not run` and why, or `run by` and the test that does."""

    page: str
    text: str
    mark: str
    why: str


def commands(page: Path) -> list[Commands]:
    """Return the shell blocks of a page."""
    name = str(page.relative_to(ROOT))
    found = _SHELL.findall(page.read_text(encoding="utf-8"))
    return [Commands(name, text, mark, why.removeprefix(":").strip()) for mark, why, text in found]


def golden(page: Path, name: str) -> str:
    """Return the text of the one block that follows `<!-- golden: name -->`."""
    parts = page.read_text(encoding="utf-8").split(f"<!-- golden: {name} -->\n")
    assert len(parts) == 2, f"{page.name} should hold one block that is marked {name!r}"
    found = _FENCE.match(parts[1])
    assert found, f"no block stands behind the mark {name!r} in {page.name}"
    return found[2]


def columns(text: str) -> list[list[str]]:
    """Split lines at every gap of two or more spaces."""
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def table_column(page: Path, heading: str, place: int = 0) -> list[str]:
    """Return one column of the first table below a heading, without back quotes."""
    lines = page.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].splitlines()
    rows: list[str] = []
    for line in lines:
        if line.startswith("|"):
            rows.append(line.split("|")[place + 1].strip().strip("`"))
        elif rows:
            break
    return rows[2:]


def shown_fields() -> dict[str, str]:
    """Return the fields of the manifest that docs/redis.md shows."""
    return {line[:16].strip(): line[16:] for line in golden(ROOT / "docs/redis.md", "manifest").splitlines()}


def shown_manifest(**changed: str) -> Manifest:
    """Return the manifest that docs/redis.md shows, with some fields changed."""
    return Manifest.from_hash({name.encode(): value.encode() for name, value in (shown_fields() | changed).items()})
