"""Pages that are made from code are as the code would make them now, and say what is so."""

import re
from pathlib import Path

import pytest
from fences import ROOT
from pydantic import ValidationError

from batch.features.registry import FEATURES
from batch.settings import BatchSettings
from docs.generate import PAGES, environment_names
from server.settings import ServerSettings


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_feature_has_a_row() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \| ([ABC, ]+) \|", PAGES["features.md"](), re.MULTILINE)
    assert [(name, axes, parts.replace(", ", "")) for name, axes, parts in rows] == [
        (entry.name, entry.axes, entry.parts) for entry in FEATURES.values()
    ]
    assert ("touches_24h", "post", "C") in [(name, axes, parts) for name, axes, parts in rows]


def test_every_setting_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)`", PAGES["settings.md"](), re.MULTILINE)
    wanted = [
        (name, environment_names(BatchSettings, name)[0]) for name in BatchSettings.model_fields if name != "source"
    ]
    wanted += [
        (name, environment_names(ServerSettings, name)[0]) for name in ServerSettings.model_fields if name != "source"
    ]
    assert rows == wanted
    assert ("database_url", "DATABASE_URL") in rows
    assert ("top_n", "HOURFEED_TOP_N") in rows


@pytest.mark.parametrize(
    ("variable", "text", "setting", "value"),
    [
        ("DATABASE_URL", "sqlite:///a.db", "database_url", "sqlite:///a.db"),
        ("REDIS_URL", "redis://h", "redis_url", "redis://h"),
        ("HOURFEED_STATE", "kept", "state", Path("kept")),
        ("HOURFEED_HOURS", "3", "hours", 3),
        ("HOURFEED_ACTIONS", '{"view": 1, "like": 2}', "actions", {"view": 1, "like": 2}),
        ("HOURFEED_ACTED_ON", '["like"]', "acted_on", ("like",)),
    ],
)
def test_a_variable_of_the_page_sets_its_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, setting: str, value: object
) -> None:
    assert f"`{variable}" in PAGES["settings.md"]()
    monkeypatch.setenv(variable, text)
    assert getattr(BatchSettings(), setting) == value


def test_a_variable_of_the_page_renames_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "`HOURFEED_SOURCE__USERS__TABLE`" in PAGES["settings.md"]()
    monkeypatch.setenv("HOURFEED_SOURCE__USERS__TABLE", "app.member")
    assert BatchSettings().source.users.table == "app.member"
    assert BatchSettings().source.users.user_id == "user_id"


@pytest.mark.parametrize(("variable", "port"), [("PORT", 8001), ("HOURFEED_PORT", 8002)])
def test_either_variable_of_the_port_sets_it(monkeypatch: pytest.MonkeyPatch, variable: str, port: int) -> None:
    monkeypatch.setenv("PORT", "8001")
    monkeypatch.setenv(variable, str(port))
    assert ServerSettings().port == port


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hourfeed.toml").write_text("hours = 5\ntop_n = 6\n")
    monkeypatch.setenv("HOURFEED_HOURS", "4")
    assert (BatchSettings().hours, BatchSettings().top_n, BatchSettings(hours=3).hours) == (4, 6, 3)


def test_batch_and_server_share_a_file_and_the_batch_refuses_what_neither_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hourfeed.toml").write_text("port = 8001\ntop_n = 6\n")
    assert (BatchSettings().top_n, ServerSettings().port) == (6, 8001)
    Path("hourfeed.toml").write_text("topn = 6\n")
    with pytest.raises(ValidationError, match="topn"):
        BatchSettings()
