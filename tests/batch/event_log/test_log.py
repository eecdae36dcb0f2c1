"""The log equals a full read, whatever came late, vanished, was changed or broke."""

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from event_table import (
    BEGIN_S,
    HOUR_S,
    NO_END_S,
    change,
    create_table,
    execute,
    insert,
    moment,
    read,
    said,
)
from sqlalchemy import Engine

from batch.errors import BatchError
from batch.event_log import bad_rows, files, log, rewrite, sorting
from source.engine import open_engine
from source.schema import EventNames, SourceSchema

DAY_S = 24 * HOUR_S


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "BLOCK_ROWS", 100)


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(database_url, tmp_path)
    create_table(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(sqlite_url, tmp_path)
    create_table(opened)
    yield opened
    opened.dispose()


def filled(engine: Engine, days: int = 10, rows: int = 800) -> np.random.Generator:
    rng = np.random.default_rng(3)
    insert(engine, rng, rng.uniform(BEGIN_S, BEGIN_S + days * DAY_S, rows))
    return rng


def blocks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.events"))


@pytest.mark.parametrize("seed", range(3))
def test_after_any_changes_within_the_open_time_the_log_is_that_of_a_full_read(
    engine: Engine, tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    newest_s = BEGIN_S + 3 * DAY_S
    insert(engine, rng, rng.uniform(BEGIN_S, newest_s, 300))
    for step in range(8):
        before_s = NO_END_S if step % 2 else newest_s - int(rng.integers(2 * DAY_S))
        fresh = tmp_path / f"fresh {step}"
        assert said(read(engine, tmp_path / "log", before_s)) == said(read(engine, fresh, before_s))
        newest_s = change(engine, rng, newest_s)
    events = len(read(engine, tmp_path / "log").events)
    assert len(blocks(tmp_path / "log")) <= 4 * events / 100 + 1  # two neighbours are never both less than half full


def test_events_come_in_order_and_ids_of_texts_by_code_point(database_url: str, tmp_path: Path) -> None:
    engine = open_engine(database_url, tmp_path)
    create_table(engine, "text")
    at = moment(BEGIN_S + 0.75)
    rows = [("z", "p", "view"), ("ä", "p", "view"), ("Z", "q,\n'", "like"), ("Z", "q,\n'", "view"), ("Z", "p", "like")]
    for user, post, action in rows:
        value = post.replace("'", "''")
        execute(engine, f"INSERT INTO feed_data VALUES ('{at}', '{user}', '{value}', '{action}', NULL)")
    for _ in range(2):
        logged = said(read(engine, tmp_path / "log"))
        assert logged["at_s"] == [BEGIN_S] * 5
        assert logged["user"] == ["Z", "Z", "Z", "z", "ä"]
        assert logged["post"] == ["p", "q,\n'", "q,\n'", "p", "p"]
        assert logged["action"] == [1, 0, 1, 0, 0]
    engine.dispose()


def test_a_run_without_news_writes_no_events_anew(engine: Engine, tmp_path: Path) -> None:
    filled(engine)
    read(engine, tmp_path / "log")
    before = {path.name: path.stat().st_mtime_ns for path in blocks(tmp_path / "log")}
    assert len(before) > 5
    read(engine, tmp_path / "log", before_s=BEGIN_S + DAY_S)
    assert {path.name: path.stat().st_mtime_ns for path in blocks(tmp_path / "log")} == before


def test_new_events_leave_old_blocks_alone(engine: Engine, tmp_path: Path) -> None:
    rng = filled(engine)
    read(engine, tmp_path / "log")
    before = {path.name: path.stat().st_mtime_ns for path in blocks(tmp_path / "log")}
    insert(engine, rng, np.linspace(BEGIN_S + 10 * DAY_S, BEGIN_S + 10 * DAY_S + HOUR_S, 30))
    read(engine, tmp_path / "log")
    after = {path.name: path.stat().st_mtime_ns for path in blocks(tmp_path / "log")}
    assert len(set(before.items()) - set(after.items())) <= 2


def test_what_changed_before_the_open_time_is_found_piece_by_piece(engine: Engine, tmp_path: Path) -> None:
    rng = filled(engine)
    read(engine, tmp_path / "log")
    pieces = len(blocks(tmp_path / "log"))
    execute(engine, f"DELETE FROM feed_data WHERE timestamp < '{moment(BEGIN_S + 2 * DAY_S)}'")
    insert(engine, rng, rng.uniform(BEGIN_S - DAY_S, BEGIN_S + 4 * DAY_S, 150))
    for _ in range(pieces + 1):
        logged = said(read(engine, tmp_path / "log"))
    assert logged == said(read(engine, tmp_path / "fresh"))


def test_a_full_refresh_finds_at_once_what_a_count_cannot_tell(engine: Engine, tmp_path: Path) -> None:
    filled(engine)
    read(engine, tmp_path / "log")
    execute(engine, f"UPDATE feed_data SET post_id = 77 WHERE timestamp < '{moment(BEGIN_S + DAY_S)}'")
    assert 77 not in said(read(engine, tmp_path / "log"))["post"]  # type: ignore[operator]
    assert said(read(engine, tmp_path / "log", full_refresh=True)) == said(read(engine, tmp_path / "fresh"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"actions": {"like": 2}}, "actions"),
        ({"schema": SourceSchema(events=EventNames(post_id="user_id", user_id="post_id"))}, "table"),
    ],
)
def test_other_settings_make_another_log(engine: Engine, tmp_path: Path, options: dict[str, object], word: str) -> None:
    filled(engine)
    read(engine, tmp_path / "log")
    logged = read(engine, tmp_path / "log", **options)  # type: ignore[arg-type]
    assert logged.notes == (f"all events are read anew, as {word} changed",)
    assert said(logged) == said(read(engine, tmp_path / "fresh", **options))  # type: ignore[arg-type]


def test_a_truncated_table_is_another_one(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)
    create_table(engine)
    rng = filled(engine)
    read(engine, tmp_path / "log")
    execute(engine, "TRUNCATE feed_data")
    insert(engine, rng, rng.uniform(BEGIN_S, BEGIN_S + DAY_S, 50))
    logged = read(engine, tmp_path / "log")
    assert logged.notes == ("all events are read anew, as relation changed",)
    assert said(logged) == said(read(engine, tmp_path / "fresh"))
    engine.dispose()


def test_a_view_that_is_defined_otherwise_is_another_one(database_url: str, tmp_path: Path) -> None:
    engine = open_engine(database_url, tmp_path)
    create_table(engine)
    filled(engine)
    schema = SourceSchema(events=EventNames(table="wanted"))
    for action in ("like", "view"):
        execute(engine, "DROP VIEW IF EXISTS wanted")
        execute(engine, f"CREATE VIEW wanted AS SELECT * FROM feed_data WHERE action = '{action}'")
        logged = read(engine, tmp_path / "log", schema=schema)
    assert "relation changed" in logged.notes[0]
    assert said(logged) == said(read(engine, tmp_path / "fresh", schema=schema))
    engine.dispose()


def test_an_emptied_table_empties_the_log(engine: Engine, tmp_path: Path) -> None:
    filled(engine)
    read(engine, tmp_path / "log")
    execute(engine, "DELETE FROM feed_data")
    for _ in range(20):
        logged = read(engine, tmp_path / "log")
    assert (len(logged.events), logged.n_bad) == (0, 0)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
@pytest.mark.parametrize("pattern", ["*.events", "*.ids", "*.bad", "manifest.json"])
def test_a_damaged_log_is_read_anew(
    sqlite: Engine, tmp_path: Path, damage: Callable[[Path], None], pattern: str
) -> None:
    filled(sqlite, days=2, rows=200)
    expected = said(read(sqlite, tmp_path / "log"))
    damage(min((tmp_path / "log").glob(pattern)))
    logged = read(sqlite, tmp_path / "log")
    assert said(logged) == expected
    assert bool(logged.notes) == (damage is not Path.unlink or pattern != "manifest.json")  # no log is no damage


def test_a_run_that_ends_at_any_write_leaves_the_log_as_it_was(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = filled(sqlite, days=2, rows=300)
    newest_s, left = BEGIN_S + 2 * DAY_S, 0
    failures: list[str] = []
    read(sqlite, tmp_path / "log")
    sync = os.fsync

    def sync_or_fail(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_or_fail)
    for step in range(12):
        newest_s = change(sqlite, rng, newest_s)
        left = step % 6
        try:
            read(sqlite, tmp_path / "log")
        except BatchError as error:
            failures.append(str(error))
        left = 1000
        assert said(read(sqlite, tmp_path / "log")) == said(read(sqlite, tmp_path / f"fresh {step}"))
    assert len(failures) > 4
    assert all(failure.endswith("cannot be written: No space left on device") for failure in failures)


def test_unusable_rows_beyond_those_listed_are_still_counted(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bad_rows, "LISTED", 3)
    rows = ", ".join(f"('{moment(BEGIN_S + second)}', 1, 1, 'buy', NULL)" for second in range(10))
    execute(sqlite, f"INSERT INTO feed_data VALUES {rows}")
    logged = read(sqlite, tmp_path / "log")
    assert (logged.n_bad, len(logged.bad)) == (10, 3)
    assert read(sqlite, tmp_path / "log", BEGIN_S + 4).n_bad == 4


def test_no_late_rows_are_awaited_where_the_setting_says_so(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    insert(engine, rng, np.full(50, BEGIN_S + 0.5))
    read(engine, tmp_path / "log", late_s=0)
    insert(engine, rng, np.array([BEGIN_S + 0.5, BEGIN_S + 1.5]))
    assert said(read(engine, tmp_path / "log", late_s=0)) == said(read(engine, tmp_path / "fresh"))


def test_ids_that_come_bit_by_bit_are_kept_in_few_files(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_DICTIONARY_FILES", 3)
    for number in range(9):
        execute(sqlite, f"INSERT INTO feed_data VALUES ('{moment(BEGIN_S)}', {9 - number}, {number}, 'view', NULL)")
        found = said(read(sqlite, tmp_path / "log"))
        assert found["user"] == list(range(9 - number, 10))
        assert found["post"] == list(range(number, -1, -1))
    assert len(list((tmp_path / "log").glob("*.ids"))) <= 6


def test_times_of_two_thousand_years_fit(engine: Engine, tmp_path: Path) -> None:
    years = ("0900-01-01", "1969-12-31", "1970-01-01", "2900-01-01")
    values = ", ".join(f"('{year} 12:00:00', 1, 1, 'view', 0)" for year in years)
    execute(engine, f"INSERT INTO feed_data VALUES {values}")
    for _ in range(3):
        at_s = read(engine, tmp_path / "log", before_s=1 << 40).events.at_s
        assert at_s.tolist() == [int(np.datetime64(f"{year}T12:00:00").astype(np.int64)) for year in years]


def test_rows_that_do_not_fit_one_integer_are_sorted_alike() -> None:
    rng = np.random.default_rng(0)
    rows = np.empty(500, dtype=sorting.ROW)
    rows["at_s"] = rng.integers(0, 2, 500) * (1 << 40)
    rows["user"], rows["post"] = rng.integers(0, 5, (2, 500))
    rows["action"] = rng.integers(0, 2, 500)
    many = sorting.Order.of(np.arange((1 << 12) - 1)[::-1])  # 12 bits each, beside 41 of the time and 1
    one = sorting.sort_rows(rows, many, many)
    assert sorting.KEY_BITS < (41 + 12 + 12 + 1)
    few = sorting.Order.of(np.arange(5)[::-1])
    other = sorting.sort_rows(rows, few, few)
    assert sorting.KEY_BITS >= (41 + 3 + 3 + 1)
    for name in ("at_s", "user", "post", "action"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_of_two_runs_at_once_one_waits_for_the_other(sqlite: Engine, tmp_path: Path) -> None:
    filled(sqlite, days=1, rows=50)
    expected = said(read(sqlite, tmp_path / "fresh"))
    with ThreadPoolExecutor(1) as other:
        with files.locked(tmp_path / "log"):
            waiting = other.submit(read, sqlite, tmp_path / "log")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1.2)
            assert not (tmp_path / "log" / "manifest.json").exists()
        logged = waiting.result(timeout=60)
    assert said(logged) == expected
    assert logged.notes[0].startswith("waited ")
