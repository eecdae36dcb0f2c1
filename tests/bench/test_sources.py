from collections.abc import Callable
from pathlib import Path

import pytest

from bench.sources import digest_sources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("batch/a.py", "batch/features/b.py", "docs/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "batch/features/b.py").write_text("x = 2\n"),
        lambda root: (root / "batch/a.py").rename(root / "batch/z.py"),
        lambda root: (root / "slates").mkdir() or (root / "slates/new.py").touch(),
        lambda root: (root / "batch/a.py").unlink(),
    ],
    ids=["edited", "renamed", "new", "gone"],
)
def test_any_change_of_the_product_changes_the_digest(tree: Path, change: Callable[[Path], object]) -> None:
    before = digest_sources(tree)
    change(tree)
    assert digest_sources(tree) != before


def test_what_is_no_code_of_the_product_does_not_change_the_digest(tree: Path) -> None:
    before = digest_sources(tree)
    (tree / "docs/c.py").write_text("x = 2\n")
    (tree / "batch/notes.txt").write_text("x = 2\n")
    assert digest_sources(tree) == before
