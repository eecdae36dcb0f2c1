from pathlib import Path

from source.chunk import BadRow
from source.quarantine import append_rows, erase_rows


def test_rows_of_a_user_can_be_erased(tmp_path: Path) -> None:
    append_rows(tmp_path, "posted events", [BadRow(0, "why", "e1,7,1,like"), BadRow(0, "why", "e2,77,1,like")])
    assert erase_rows(tmp_path, ["7"]) == 1
    assert (tmp_path / "posted events.csv").read_text().splitlines()[1:] == ['"posted events",0,"why","e2,77,1,like"']
    assert erase_rows(tmp_path, ["7"]) == 0
    assert erase_rows(tmp_path / "none", ["7"]) == 0
