import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from cli.simulate import command
from demo.errors import DemoError
from demo.oracle import Oracle
from demo.parameters import Parameters
from demo.simulate import Summary, simulate, simulate_files
from demo.sinks import DatabaseSink
from source.engine import open_engine
from source.schema import SourceSchema
from source.write import write_rows

SMALL = Parameters(users=1_200, posts=150, days=4, seed=1)
TINY = Parameters(users=60, posts=40, days=3, seed=1)
SCHEMA = SourceSchema()
FILES = ["oracle.npz", "posts.parquet", "users.parquet"]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(None, tmp_path)
    yield engine
    engine.dispose()


def counts(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return [
            connection.execute(text(query)).scalar_one()
            for query in (
                "SELECT count(*) FROM user_data",
                "SELECT count(*) FROM post_text_df",
                "SELECT count(*) FROM feed_data",
                "SELECT count(*) FROM feed_data WHERE action = 'like'",
            )
        ]


def expected(summary: Summary) -> list[int]:
    return [summary.users, summary.posts, summary.views + summary.likes, summary.likes]


def bytes_of(folder: Path) -> list[bytes]:
    """Return what the files hold, the days of events one after the other."""
    days = b"".join(path.read_bytes() for path in sorted((folder / "events").iterdir()))
    return [days, *((folder / name).read_bytes() for name in FILES)]


def test_the_same_seed_gives_the_same_bytes_whatever_the_chunk(tmp_path: Path) -> None:
    simulate_files(SMALL, tmp_path / "one")
    simulate_files(SMALL, tmp_path / "two", chunk_users=1)

    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    alone = simulate_files(SMALL, tmp_path / "one")
    together = simulate_files(SMALL, tmp_path / "two", chunk_users=500, workers=2)

    assert together == alone
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_events_lie_in_a_file_for_each_day(tmp_path: Path) -> None:
    simulate_files(TINY, tmp_path)

    assert [path.name for path in sorted((tmp_path / "events").iterdir())] == [
        "2021-12-27.parquet",
        "2021-12-28.parquet",
        "2021-12-29.parquet",
    ]
    for path in (tmp_path / "events").iterdir():
        assert set(pd.read_parquet(path)["timestamp"].dt.strftime("%Y-%m-%d.parquet")) == {path.name}


def test_another_seed_gives_another_network(tmp_path: Path) -> None:
    simulate_files(TINY, tmp_path / "one")
    simulate_files(Parameters(users=60, posts=40, days=3, seed=2), tmp_path / "two")

    pairs = zip(bytes_of(tmp_path / "one"), bytes_of(tmp_path / "two"), strict=True)
    assert all(one != two for one, two in pairs)


def test_files_hold_the_columns_of_the_schema_in_order_of_time(tmp_path: Path) -> None:
    summary = simulate_files(SMALL, tmp_path)
    users, posts = (pd.read_parquet(tmp_path / f"{kind}.parquet") for kind in ("users", "posts"))
    events = pd.read_parquet(tmp_path / "events")

    assert list(events) == ["timestamp", "user_id", "post_id", "action", "target"]
    assert events["timestamp"].is_monotonic_increasing
    assert events["timestamp"].dt.tz is None
    assert set(events["action"]) == {"view", "like"}
    assert set(events.loc[events["action"] == "like", "target"]) == {0}
    assert events["target"].sum() == summary.likes == (events["action"] == "like").sum()
    assert len(events) == summary.views + summary.likes
    assert set(events["user_id"]) < set(users["user_id"])
    assert set(events["post_id"]) <= set(posts["post_id"])
    assert events["timestamp"].iloc[0] == summary.first.replace(tzinfo=None)  # type: ignore[union-attr]
    assert events["timestamp"].iloc[-1] == summary.last.replace(tzinfo=None)  # type: ignore[union-attr]


def test_what_is_hidden_is_in_no_table(tmp_path: Path) -> None:
    simulate_files(TINY, tmp_path)

    places = [tmp_path / name for name in ("users.parquet", "posts.parquet", "events")]
    columns = {name for place in places for name in pd.read_parquet(place)}
    assert not columns & {"segment", "group", "cold", "probability", "joined_day", "active_share"}


def test_the_oracle_beside_the_files_knows_their_ids(tmp_path: Path) -> None:
    simulate_files(SMALL, tmp_path)
    events = pd.read_parquet(tmp_path / "events")
    views = events[events["action"] == "view"]
    bucket = views["timestamp"].to_numpy().astype("datetime64[h]").astype(np.int64)

    told = Oracle.load(tmp_path / "oracle.npz").like_probability(views["user_id"], views["post_id"], bucket)
    assert told.min() > 0
    assert told.mean() == pytest.approx(views["target"].mean(), abs=4 * np.sqrt(0.12 * 0.88 / len(views)))


def test_csv_files_hold_what_parquet_files_hold(tmp_path: Path) -> None:
    simulate_files(TINY, tmp_path / "parquet")
    simulate_files(TINY, tmp_path / "csv", file_format="csv")

    for name, times in (("users.parquet", []), ("posts.parquet", ["published_at"]), ("events", ["timestamp"])):
        parquet = pd.read_parquet(tmp_path / "parquet" / name)
        csv = pd.read_csv((tmp_path / "csv" / name).with_suffix(".csv"), parse_dates=times)
        pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)


def test_an_earlier_simulation_in_the_folder_is_replaced_whatever_its_format(tmp_path: Path) -> None:
    simulate_files(SMALL, tmp_path, file_format="csv")
    simulate_files(TINY, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "events", "simulated.json"])


def test_files_of_someone_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id\n1\n")

    with pytest.raises(DemoError, match="no simulation wrote it; name another folder"):
        simulate_files(TINY, tmp_path)
    assert (tmp_path / "users.csv").read_text() == "user_id\n1\n"


def test_a_log_in_which_nobody_acts_is_an_empty_table(tmp_path: Path) -> None:
    lonely = Parameters(users=1, posts=10, days=1, cold_share=0.9)  # 0.9 of one user, rounded: the user is cold
    summary = simulate_files(lonely, tmp_path)

    assert (summary.views, summary.likes, summary.first, summary.last) == (0, 0, None, None)
    assert summary.like_rate == 0
    assert len(pd.read_parquet(tmp_path / "events")) == 0


def test_the_database_holds_what_the_summary_says(engine: Engine, tmp_path: Path) -> None:
    summary = simulate(TINY, engine, SCHEMA, tmp_path)

    assert counts(engine) == expected(summary)
    assert (tmp_path / "oracle.npz").exists()


def test_a_second_run_finds_its_rows_and_writes_nothing(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = simulate(TINY, engine, SCHEMA, tmp_path)
    monkeypatch.setattr(DatabaseSink, "write", None)
    second = simulate(TINY, engine, SCHEMA, tmp_path)

    assert second.already_there
    assert not first.already_there
    assert expected(second) == expected(first)
    assert (second.first, second.last) == (first.first, first.last)


def test_a_lost_oracle_is_made_again(sqlite: Engine, tmp_path: Path) -> None:
    simulate(TINY, sqlite, SCHEMA, tmp_path)
    before = (tmp_path / "oracle.npz").read_bytes()
    (tmp_path / "oracle.npz").unlink()
    simulate(TINY, sqlite, SCHEMA, tmp_path)

    assert (tmp_path / "oracle.npz").read_bytes() == before


def test_a_run_an_hour_later_keeps_the_log_when_asked_to(sqlite: Engine, tmp_path: Path) -> None:
    first = simulate(TINY, sqlite, SCHEMA, tmp_path)
    later = Parameters(users=60, posts=40, days=3, seed=1, end=TINY.end + timedelta(hours=1))

    assert simulate(later, sqlite, SCHEMA, tmp_path, keep_end=True).last == first.last
    with pytest.raises(DemoError, match="another simulation"):
        simulate(later, sqlite, SCHEMA, tmp_path)


def test_rows_from_elsewhere_are_refused_with_the_remedy(engine: Engine, tmp_path: Path) -> None:
    write_rows(engine, SCHEMA, "users", pd.DataFrame({"user_id": [1, 2]}))

    with pytest.raises(DemoError, match=r"user_data already holds rows from elsewhere.*DATABASE_URL.*--out DIR"):
        simulate(TINY, engine, SCHEMA, tmp_path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM user_data")).scalar_one() == 2


def test_another_simulation_is_refused(sqlite: Engine, tmp_path: Path) -> None:
    simulate(TINY, sqlite, SCHEMA, tmp_path)

    with pytest.raises(DemoError, match="another simulation"):
        simulate(SMALL, sqlite, SCHEMA, tmp_path)


def interrupted(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_writes: int) -> None:
    writes = iter(range(after_writes))

    def write(*arguments: Any) -> int:
        if next(writes, None) is None:
            raise KeyboardInterrupt
        return write_rows(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("demo.sinks.write_rows", write)  # of users and posts
        patched.setattr("source.bulk.write_rows", write)  # of a day
        with pytest.raises(KeyboardInterrupt):
            simulate(TINY, engine, SCHEMA, tmp_path)


@pytest.mark.parametrize("after_writes", [0, 1, 2, 3])
def test_an_interrupted_simulation_is_completed_by_the_next(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_writes: int
) -> None:
    interrupted(sqlite, tmp_path, monkeypatch, after_writes)
    summary = simulate(TINY, sqlite, SCHEMA, tmp_path)

    assert not summary.already_there
    assert counts(sqlite) == expected(summary)
    assert not list(tmp_path.glob(".simulate-*"))


def test_a_simulation_interrupted_in_its_days_is_completed_by_the_next(engine: Engine, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("writing", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(TINY, engine, SCHEMA, tmp_path, progress=interrupt)
    summary = simulate(TINY, engine, SCHEMA, tmp_path)

    assert not summary.already_there
    assert counts(engine) == expected(summary)


def test_rows_loaded_after_an_interrupted_simulation_are_not_mixed_with_it(
    sqlite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(sqlite, tmp_path, monkeypatch, after_writes=0)
    write_rows(sqlite, SCHEMA, "users", pd.DataFrame({"user_id": [1, 2]}))

    with pytest.raises(DemoError, match="rows from elsewhere"):
        simulate(TINY, sqlite, SCHEMA, tmp_path)


def test_a_marker_of_another_database_does_not_count(tmp_path: Path) -> None:
    first, second = (open_engine(f"sqlite:///{tmp_path / name}", tmp_path) for name in ("one.db", "two.db"))
    try:
        simulate(TINY, first, SCHEMA, tmp_path)
        summary = simulate(TINY, second, SCHEMA, tmp_path)
        assert not summary.already_there
        assert counts(first) == counts(second) == expected(summary)
    finally:
        first.dispose()
        second.dispose()


def test_progress_reaches_the_end_of_every_stage(tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    simulate_files(
        SMALL, tmp_path, chunk_users=500, progress=lambda stage, done, total: last.update({stage: (done, total)})
    )

    assert last == {"users": (1, 1), "log": (3, 3), "writing": (4, 4)}


def test_the_command_fills_the_default_database_up_to_the_current_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["--users", "60", "--posts", "40", "--days", "3"]
    first = CliRunner().invoke(command, asked, catch_exceptions=False)
    second = CliRunner().invoke(command, asked, catch_exceptions=False)

    assert first.exit_code == second.exit_code == 0
    assert first.stdout.startswith("simulated: 60 users, 40 posts, ")
    assert second.stdout.startswith("already there: 60 users, 40 posts, ")
    marker = json.loads((tmp_path / ".hourfeed" / "simulated.json").read_text())
    end = datetime.fromisoformat(marker["parameters"]["end"])
    assert timedelta(0) <= datetime.now(UTC) - end < timedelta(hours=2)


def test_the_command_writes_files_and_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["--users", "60", "--posts", "40", "--days", "3", "--end", "2026-01-15T12:00", "--no-published-at"]
    result = CliRunner().invoke(command, [*asked, "--out", "files", "--format", "csv"], catch_exceptions=False)

    assert result.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]
    assert list(pd.read_csv("files/posts.csv")) == ["post_id", "text", "topic"]
    assert pd.read_csv("files/events.csv")["timestamp"].between("2026-01-12 12", "2026-01-15 12").all()


def test_the_command_refuses_an_end_that_is_no_time() -> None:
    result = CliRunner().invoke(command, ["--end", "tomorrow"])

    assert result.exit_code == 2
    assert "'tomorrow' is not a time; write it like 2021-12-30T00:00" in result.stderr
