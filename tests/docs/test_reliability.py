"""Every row of docs/reliability.md names tests, and they are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == 5 and row[0] != "fault"]


def test_each_fault_has_tests_of_that_name() -> None:
    there = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert len(rows()) >= 20
    for fault, *_, tests in rows():
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, fault
        assert set(named) <= there, (fault, set(named) - there)


def test_each_test_of_faults_is_in_the_table() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    for path in (ROOT / "tests" / "faults").glob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert node.name in named
