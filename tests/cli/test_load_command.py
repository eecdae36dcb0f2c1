"""`hourfeed load` as its user sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.load import command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # without an hourfeed.toml
    monkeypatch.setenv("HOURFEED_STATE", str(tmp_path / "state"))
    made = tmp_path / "files"
    made.mkdir()
    (made / "notes.txt").write_text("")
    return made


def test_load_ends_with_counts_reasons_and_the_quarantine_file(
    folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    (folder / "users.csv").write_text("user_id,age\n1,30\n2,old\n3,ancient\n4,40\n")
    (folder / "events.csv").write_text("timestamp,user_id,post_id,action,device\n2021-12-20 15:00:00,1,2,view,phone\n")
    result = CliRunner().invoke(command, [str(folder)])
    assert (result.exit_code, result.stderr) == (0, "")
    cells = [
        line.split()[:-1]
        for line in map(str.strip, result.stdout.splitlines())
        if line.startswith(("users.csv ", "events.csv "))
    ]
    assert cells == [["users.csv", "users", "4", "2", "0", "2"], ["events.csv", "events", "1", "1", "0", "0"]]
    quarantine = Path("state/quarantine/users.csv.csv").absolute()
    assert result.stdout.splitlines()[-4:] == [
        "users.csv: 2 rows set aside: age is not a whole number of 32 bits",
        f"users.csv: the rows set aside are in {quarantine}",
        "events.csv: columns not loaded: device",
        "files not loaded: notes.txt",
    ]
    assert quarantine.read_text().splitlines()[1:] == [
        '"users.csv",3,"age is not a whole number of 32 bits","2,old"',
        '"users.csv",4,"age is not a whole number of 32 bits","3,ancient"',
    ]


def test_load_without_a_database_url_fills_sqlite_in_the_state_folder(folder: Path) -> None:
    (folder / "posts.csv").write_text("post_id,text\n1,hello\n")
    assert CliRunner().invoke(command, [str(folder)]).exit_code == 0
    assert (folder.parent / "state" / "hourfeed.db").exists()


def test_load_of_a_folder_without_files_is_one_line_of_error_and_a_non_zero_exit(folder: Path) -> None:
    ended = load(folder, f"sqlite:///{folder.parent / 'hourfeed.db'}")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"error: {folder} holds none of the files that are looked for (users: users or ")
    assert ended.stderr.count("\n") == 1


def events(*actions: str) -> str:
    rows = [f"2021-12-20 15:00:00,{user},2,{action}\n" for user, action in enumerate(actions, start=1)]
    return "timestamp,user_id,post_id,action\n" + "".join(rows)


def load(folder: Path, database_url: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", "from cli.main import run; run()", "load", str(folder)]
    environment = {**os.environ, "DATABASE_URL": database_url}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_load_of_a_file_of_which_no_row_can_be_used_fails_and_says_why(folder: Path, database_url: str) -> None:
    (folder / "users.csv").write_text("user_id\n1\n")
    (folder / "events.csv").write_text(events("seen", "", "seen"))
    ended = load(folder, database_url)
    known = "view, like, bookmark, comment, follow, share: [actions] in hourfeed.toml"
    assert ended.stderr == (
        f"error: no row of events.csv is loaded; the reason of 2 of 3: action is unknown; known are {known}\n"
    )
    assert ended.returncode == 1
    assert f"events.csv: 2 rows set aside: action is unknown; known are {known}" in ended.stdout.splitlines()
    assert "events.csv: 1 row set aside: action is empty" in ended.stdout.splitlines()


def test_load_of_a_file_of_which_one_row_can_be_used_is_well(folder: Path, database_url: str) -> None:
    (folder / "events.csv").write_text(events("seen", "view"))
    ended = load(folder, database_url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "events.csv: the row set aside is in " in ended.stdout


def test_load_again_of_rows_that_are_there_is_well(folder: Path, database_url: str) -> None:
    (folder / "events.csv").write_text(events("view"))
    assert [load(folder, database_url).returncode for _ in range(2)] == [0, 0]


def test_load_of_a_file_with_a_header_alone_is_well(folder: Path, database_url: str) -> None:
    (folder / "events.csv").write_text(events())
    assert load(folder, database_url).returncode == 0
