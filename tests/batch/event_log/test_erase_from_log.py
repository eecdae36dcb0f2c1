from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from event_table import BEGIN_S, HOUR_S, create_table, execute, insert, read, said
from sqlalchemy import Engine

from batch.event_log import log, rewrite
from batch.event_log.erase import erase_from_log
from source.engine import open_engine


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "BLOCK_ROWS", 100)


@pytest.fixture(params=["", "member-"], ids=["integers", "texts"])
def prefix(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def engine(sqlite_url: str, tmp_path: Path, prefix: str) -> Iterator[Engine]:
    opened = open_engine(sqlite_url, tmp_path)
    create_table(opened, "text" if prefix else "bigint")
    rng = np.random.default_rng(3)
    insert(opened, rng, rng.uniform(BEGIN_S, BEGIN_S + 240 * HOUR_S, 800), prefix=prefix)
    yield opened
    opened.dispose()


def users_of(logged: log.LoggedEvents) -> list[str]:
    return [str(logged.user_ids[user]) for user in logged.events.user]


def test_erased_users_are_gone_from_every_block_and_the_others_stay(
    engine: Engine, tmp_path: Path, prefix: str
) -> None:
    folder, gone = tmp_path / "log", [f"{prefix}7", f"{prefix}-3", "nobody"]
    before = users_of(read(engine, folder))
    erased = erase_from_log(folder, gone)
    assert erased == sum(user in gone for user in before) > 20
    execute(engine, f"DELETE FROM feed_data WHERE CAST(user_id AS text) IN ('{prefix}7', '{prefix}-3')")
    after = read(engine, folder)
    assert said(after) == said(read(engine, tmp_path / "anew"))
    assert users_of(after) == [user for user in before if user not in gone]
    assert not set(gone) & set(map(str, after.user_ids.tolist()))
    assert erase_from_log(folder, gone) == 0


def test_no_file_of_the_log_holds_the_id_of_an_erased_user(engine: Engine, tmp_path: Path, prefix: str) -> None:
    folder = tmp_path / "log"
    read(engine, folder)
    word = f"{prefix}7".encode() if prefix else (7).to_bytes(8, "little")
    dictionaries = {path.name for path in folder.glob("*.ids") if word in path.read_bytes()}
    erase_from_log(folder, [f"{prefix}7"])
    held = [path for path in folder.glob("*.ids") if word in path.read_bytes()]
    assert len(dictionaries) == 2
    assert len(held) == 1  # it is a post, too


def test_users_whose_rows_the_database_still_holds_come_back(engine: Engine, tmp_path: Path, prefix: str) -> None:
    folder = tmp_path / "log"
    first = said(read(engine, folder))
    erase_from_log(folder, [f"{prefix}7"])
    for _ in range(30):  # one block a run is counted again
        again = said(read(engine, folder))
    assert again == first


def test_a_damaged_log_goes_as_a_whole(engine: Engine, tmp_path: Path, prefix: str) -> None:
    folder = tmp_path / "log"
    first = said(read(engine, folder))
    next(folder.glob("*.events")).write_bytes(b"broken")
    erase_from_log(folder, [f"{prefix}7"])
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]
    assert said(read(engine, folder)) == first


def test_without_a_log_there_is_nothing_to_erase(tmp_path: Path) -> None:
    assert erase_from_log(tmp_path / "log", ["7"]) == 0
    (tmp_path / "log").mkdir()
    assert erase_from_log(tmp_path / "log", ["7"]) == 0
