import json
import math
from pathlib import Path

import pytest

from bench import figures
from bench.figures import Target, TargetsError, Verdict, conclude, judge, read_targets, table, write_results


def targets_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "targets.toml"
    path.write_text(text)
    return path


def test_targets_are_read_by_dotted_name(tmp_path: Path) -> None:
    path = targets_file(
        tmp_path,
        """
        [days]
        difference = { above = 0 }
        deskdrop.sqlite.failures = { at_most = 0 }
        deskdrop.sqlite.batch_s = { at_least = 1.5, at_most = 90 }
        [other]
        difference = { above = 7 }
        """,
    )
    assert read_targets("days", path) == {
        "difference": Target(above=0),
        "deskdrop.sqlite.failures": Target(at_most=0),
        "deskdrop.sqlite.batch_s": Target(at_least=1.5, at_most=90),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[other]\nx = { above = 0 }", r"no table \[days\]; it has: other"),
        ("[days]\nx = 5", r"days\.x = 5 is not a target"),
        ("[days]\nx = {}", r"days\.x = {} is not a target"),
        ("[days]\nx.y = { maximum = 5 }", r"days\.x\.y has maximum = 5; allowed .* at_least, at_most, above"),
        ("[days]\nx = { above = '5' }", r"days\.x has above = '5'"),
        ("[days]\nx = { above = true }", r"days\.x has above = True"),
    ],
)
def test_a_target_that_cannot_be_understood_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(TargetsError, match=told):
        read_targets("days", targets_file(tmp_path, text))


def test_targets_of_the_project_can_be_read_and_ask_something() -> None:
    targets = read_targets("acceptance")
    assert targets["deskdrop.sqlite.failures"] == Target(at_most=0)
    assert all(str(target) for target in targets.values())


@pytest.mark.parametrize(
    ("target", "below", "on_the_bound", "over"),
    [
        (Target(at_least=2), False, True, True),
        (Target(at_most=2), True, True, False),
        (Target(above=2), False, False, True),
        (Target(at_least=2, at_most=2), False, True, False),
        (Target(), True, True, True),
    ],
)
def test_a_bound_holds_up_to_where_its_name_says(target: Target, below: bool, on_the_bound: bool, over: bool) -> None:
    assert [target.is_met_by(value) for value in (1.9, 2, 2.1)] == [below, on_the_bound, over]


def test_nan_meets_no_target() -> None:
    assert not Target().is_met_by(math.nan)
    assert not Target(at_most=1).is_met_by(math.nan)


def test_a_target_whose_figure_is_absent_is_missed_and_a_figure_without_target_is_not() -> None:
    verdicts = judge({"cases": 3, "failures": 1}, {"failures": Target(at_most=0), "short": Target(at_most=0)})
    assert verdicts == [
        Verdict("cases", 3, None),
        Verdict("failures", 1, Target(at_most=0)),
        Verdict("short", None, Target(at_most=0)),
    ]
    assert [verdict.ok for verdict in verdicts] == [True, False, False]


def test_the_table_has_a_line_for_each_figure_in_columns() -> None:
    verdicts = judge(
        {"cases": 12_345, "hitrate": 0.5}, {"hitrate": Target(at_least=0.25, at_most=1), "short": Target(above=0)}
    )
    assert table(verdicts).split("\n") == [
        "figure          value  target       ok",
        "cases          12,345",
        "hitrate        0.5000  ≥ 0.25, ≤ 1  yes",
        "short    not measured  > 0          NO",
    ]


def test_results_are_flat_json_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = write_results("days", {"a.b": 1, "c": 0.5}, tmp_path / "new")
    assert path == tmp_path / "new" / "days.json"
    assert json.loads(path.read_text()) == {"a.b": 1, "c": 0.5}


@pytest.mark.parametrize(("value", "status"), [(0, 0), (1, 1)])
def test_the_exit_status_tells_of_a_missed_target_and_the_figures_are_kept_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: int, status: int
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert conclude("days", {"short": value}, {"short": Target(at_most=0)}) == status
    assert json.loads((tmp_path / "days.json").read_text()) == {"short": value}
    assert ("missed: short" in capsys.readouterr().out) == bool(status)
