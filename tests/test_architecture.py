"""The arrows between the rooms, read from the imports."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"batch", "bench", "charts", "cli", "demo", "server", "slates", "source"}
MAY_IMPORT = {
    "charts": set(),
    "slates": set(),
    "source": set(),
    "batch": {"charts", "slates", "source"},
    "server": {"charts", "slates", "source"},
    "demo": {"slates", "source"},
    "cli": {"batch", "demo", "server", "slates", "source"},
}
PACKAGES = {
    "charts": set(),
    "slates": {"hiredis", "redis"},  # the parser of replies that redis-py uses too
    "server": {
        "dateutil",
        "flask",
        "gunicorn",
        "markupsafe",
        "opentelemetry",
        "orjson",
        "prometheus_client",
        "pydantic",
        "pydantic_settings",
        "redis",
        "werkzeug",
    },
}
PURE = {"bucket", "codec", "entry", "errors", "forecast", "keys", "manifest", "packed", "resp"}
STAGES = {"read", "candidates", "cases", "train", "rank", "slate", "publish"}
STAGES_MAY_IMPORT = {"slate": {"rank"}, "publish": {"slate"}, "train": {"cases"}}
"""Beside types: a slate is picked from a scorer's parts, cases are what is trained on, chunks what is published."""


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files_of(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found, room
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_that_its_arrows_point_to(room: str) -> None:
    for path in files_of(room):
        rooms = {name.split(".")[0] for name in imports_of(path)} & ROOMS
        assert rooms <= MAY_IMPORT[room] | {room}, path


@pytest.mark.parametrize("room", PACKAGES)
def test_light_rooms_stay_light(room: str) -> None:
    for path in files_of(room):
        packages = {name.split(".")[0] for name in imports_of(path)} - ROOMS - sys.stdlib_module_names
        assert packages <= PACKAGES[room], path


def test_the_pure_half_of_the_contract_uses_the_standard_library_alone() -> None:
    for name in PURE:
        roots = {found.split(".")[0] for found in imports_of(ROOT / "slates" / f"{name}.py")}
        assert roots <= sys.stdlib_module_names | {"slates"}, name


def test_only_slates_and_those_who_open_it_import_redis() -> None:
    for room in ROOMS - {"slates", "bench"}:
        for path in files_of(room):
            names = {name for name in imports_of(path) if name.split(".")[0] == "redis"}
            allowed = {"redis.Redis"} | {name for name in names if name.startswith("redis.exceptions.")}
            assert names <= allowed, path  # the type to pass on, and errors to catch; never a command


def test_stages_do_not_import_each_other() -> None:
    for stage in STAGES:
        used = {name.split(".")[1] for name in imports_of(ROOT / "batch" / f"{stage}.py") if name.startswith("batch.")}
        assert used & STAGES <= STAGES_MAY_IMPORT.get(stage, set()) | {stage}, stage
