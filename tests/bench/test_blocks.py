from pathlib import Path

import pytest

from bench.blocks import BlockError, rate, rewrite, rewrite_page, signed, table
from bench.quality_parts import PARTS
from bench.sources import ROOT

PAGE = """before
<!-- figures: a -->
old
<!-- end of a -->
between
<!-- figures: b -->
<!-- end of b -->
after
"""


def test_a_block_gets_its_new_contents_and_all_else_stays() -> None:
    once = rewrite(PAGE, {"a": "new\n", "b": "first"})
    assert once == PAGE.replace("\nold\n", "\n\nnew\n\n").replace("b -->\n<!--", "b -->\n\nfirst\n\n<!--")
    assert rewrite(once, {"a": "new", "b": "first"}) == once


@pytest.mark.parametrize("page", ["no block", "<!-- figures: a -->\nnever ended", "<!-- end of a -->"])
def test_a_missing_block_is_an_error(page: str) -> None:
    with pytest.raises(BlockError, match="figures: a"):
        rewrite(page, {"a": "new"})


def test_the_page_is_rewritten_in_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    rewrite_page(page, {"b": "×"})
    assert page.read_text(encoding="utf-8") == rewrite(PAGE, {"b": "×"})


def test_the_project_has_a_block_for_every_part() -> None:
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    assert all(f"{part} measured" in rewrite(page, {part: f"{part} measured"}) for part in PARTS)


def test_a_table_names_its_rows_left_and_holds_numbers_right() -> None:
    assert table(["x", "y"], [["a", ".5"]]) == "| x | y |\n| --- | ---: |\n| a | .5 |"


def test_shares_are_written_without_the_zero_and_differences_with_their_sign() -> None:
    assert [rate(0.6514), rate(1.0), rate(0.6514, 0.0178)] == [".651", "1.000", ".651 ± .018"]
    assert signed(0.0531, -0.0012, 1.25) == "+.053 (-.001 to +1.250)"
