"""docs/load.md names the files and columns that `hourfeed load` knows."""

from fences import ROOT, table_column

from batch.settings import BatchSettings
from source.files import ENDINGS, STEMS
from source.schema import SourceSchema
from source.tables import KEYS, KNOWN, column_names

PAGE = ROOT / "docs/load.md"


def rows(heading: str, n_columns: int) -> list[tuple[str, ...]]:
    return list(zip(*(table_column(PAGE, heading, place) for place in range(n_columns)), strict=True))


def test_every_column_has_a_row_that_says_whether_it_must_be_there() -> None:
    wanted = [
        (kind, name, "yes" if name in KEYS[kind] else "no")
        for kind in STEMS
        for name in dict.fromkeys([*column_names(SourceSchema(), kind), *KNOWN[kind]])
    ]
    assert rows("Columns", 3) == wanted
    assert ("events", "action", "yes") in wanted


def test_every_name_of_a_file_and_every_ending_is_told() -> None:
    text = PAGE.read_text(encoding="utf-8").split("\n## Columns", 1)[0]
    for stems in STEMS.values():
        assert f"| `{stems[0]}` | {', '.join(f'`{stem}`' for stem in stems[1:])} |" in text
    assert all(f"`{ending}`" in text for ending in ENDINGS)


def test_the_default_actions_are_told() -> None:
    actions = BatchSettings.model_fields["actions"].default
    assert f"`[actions]`: {', '.join(f'`{name}`' for name in actions)} unless" in PAGE.read_text(encoding="utf-8")
