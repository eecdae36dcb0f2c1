"""The state folder stays small, and nothing goes that is in use."""

import os
from pathlib import Path

import pytest

import batch.clean
from batch.clean import KEEP_MODELS, KEEP_QUARANTINE, clean_state

NOW_S = 1_000_000_000.0
DAY_S = 86_400.0


def put(path: Path, age_s: float, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (NOW_S - age_s, NOW_S - age_s))
    return path


def put_model(folder: Path, name: str, age_s: float) -> Path:
    put(folder / name / "model.json", age_s)
    os.utime(folder / name, (NOW_S - age_s, NOW_S - age_s))
    return folder / name


def test_an_empty_state_folder_is_left_alone(tmp_path: Path) -> None:
    assert clean_state(tmp_path / "none", NOW_S) == []
    assert not (tmp_path / "none").exists()


def test_the_latest_models_stay(tmp_path: Path) -> None:
    models = [put_model(tmp_path / "models", f"{number:016x}", number * DAY_S) for number in range(KEEP_MODELS + 3)]
    assert clean_state(tmp_path, NOW_S) == []
    assert [model.exists() for model in models] == [True] * KEEP_MODELS + [False] * 3


def test_what_killed_runs_left_unfinished_goes_once_nobody_can_be_at_it(tmp_path: Path) -> None:
    def unfinished(age_s: float) -> list[Path]:
        number = int(age_s)
        return [
            put_model(tmp_path / "models", f".0123456789abcdef.{number}", age_s),
            put(tmp_path / f".gate.{number}.json", age_s),
            put(tmp_path / f".last-run.json.{number}", age_s),
            put(tmp_path / "quarantine" / f"events.{number}.csv.new", age_s),
        ]

    young, old = unfinished(3_000), unfinished(4_000)
    lasting = [put(tmp_path / name, 400 * DAY_S) for name in ("gate.json", "hourfeed.db", "event-log/00000001.block")]
    assert clean_state(tmp_path, NOW_S) == []
    assert all(path.exists() for path in young + lasting)
    assert not any(path.exists() for path in old)


def test_quarantine_files_go_by_age_and_by_number(tmp_path: Path) -> None:
    folder = tmp_path / "quarantine"
    old = put(folder / "old.csv", 30.1 * DAY_S)
    files = [put(folder / f"{number}.csv", number * 60) for number in range(KEEP_QUARANTINE + 2)]
    clean_state(tmp_path, NOW_S)
    assert [path.exists() for path in files] == [True] * KEEP_QUARANTINE + [False] * 2
    assert not old.exists()


def test_a_quarantine_file_that_has_grown_large_is_put_aside_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch.clean, "QUARANTINE_BYTES", 10)
    folder = tmp_path / "quarantine"
    for content in ("first, too long", "second, too long"):
        put(folder / "posted events.csv", 0, content)
        clean_state(tmp_path, NOW_S)
        assert [path.name for path in folder.iterdir()] == ["posted events.before.csv"]
        assert (folder / "posted events.before.csv").read_text() == content


def test_what_cannot_be_removed_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / ".gate.7.json", 2 * DAY_S)
    old = put(tmp_path / "quarantine" / "old.csv", 31 * DAY_S)
    remove = batch.clean._remove

    def refuse(path: Path) -> None:
        if path != old:
            raise PermissionError(13, "not permitted", str(path))
        remove(path)

    monkeypatch.setattr(batch.clean, "_remove", refuse)
    (told,) = clean_state(tmp_path, NOW_S)
    assert told.startswith("the state folder cannot be cleaned: [Errno 13] not permitted")
    assert not old.exists()
