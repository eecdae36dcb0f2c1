"""A new table of events in Postgres is filled by bare COPY; in SQLite, and where rows may be there, frame by frame."""

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, inspect, text

from source.bulk import event_writer
from source.engine import open_engine
from source.errors import SourceError
from source.load import load_folder
from source.schema import EventNames, SourceSchema
from source.write import write_rows

SCHEMA = SourceSchema()


def events(*rows: tuple[str, int, int, str, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["timestamp", "user_id", "post_id", "action", "target"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"]))


FIRST = events(("2021-12-20 15:00:00", 1, 10, "view", 1), ("2021-12-20 15:00:00", 1, 10, "like", 0))
AGAIN = events(("2021-12-20 15:00:00", 1, 10, "view", 0), ("2021-12-20 15:00:01", 1, 10, "view", 0))


def rows_of(engine: Engine) -> list[tuple[int, str, int]]:
    query = text("SELECT user_id, action, target FROM feed_data ORDER BY timestamp, action")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_of_rows_that_are_the_same_the_first_is_kept_and_the_others_are_told(engine: Engine) -> None:
    with event_writer(engine, SCHEMA) as writer:
        new = writer.add(FIRST) + writer.add(AGAIN)
        new -= writer.finish()

    assert new == 3
    assert rows_of(engine) == [(1, "like", 0), (1, "view", 1), (1, "view", 0)]


@pytest.mark.parametrize("frames", [(FIRST,), (FIRST, AGAIN)], ids=["all rows differ", "some are the same"])
def test_the_new_table_has_the_indexes_that_one_has_which_was_filled_row_by_row(
    engine: Engine, frames: tuple[pd.DataFrame, ...]
) -> None:
    slow = SourceSchema(events=EventNames(table="slow"))
    write_rows(engine, slow, "events", FIRST)
    with event_writer(engine, SCHEMA) as writer:
        for frame in frames:
            writer.add(frame)
        writer.finish()

    def indexes(table: str) -> list[tuple[tuple[str | None, ...], bool]]:
        found = inspect(engine).get_indexes(table)
        return sorted((tuple(index["column_names"]), bool(index["unique"])) for index in found)

    assert indexes("feed_data") == indexes("slow")
    assert write_rows(engine, SCHEMA, "events", FIRST) == 0


def test_rows_that_are_there_are_left(engine: Engine) -> None:
    write_rows(engine, SCHEMA, "events", FIRST)
    with event_writer(engine, SCHEMA) as writer:
        assert writer.add(AGAIN) == 1
        assert writer.finish() == 0

    assert rows_of(engine) == [(1, "like", 0), (1, "view", 1), (1, "view", 0)]


def fill_and_fail(engine: Engine) -> None:
    with event_writer(engine, SCHEMA) as writer:
        writer.add(FIRST)
        writer.add(FIRST.assign(action="v\0"))
        writer.finish()


def test_nothing_is_left_of_a_new_table_whose_filling_fails(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)
    with pytest.raises(SourceError, match="writing events failed"):
        fill_and_fail(engine)

    assert not inspect(engine).has_table("feed_data")
    engine.dispose()


def test_no_events_make_no_table(engine: Engine) -> None:
    with event_writer(engine, SCHEMA) as writer:
        assert writer.add(FIRST.iloc[:0]) == 0
        assert writer.finish() == 0

    assert not inspect(engine).has_table("feed_data")


def test_what_lies_before_a_files_damage_is_loaded(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "files" / "events"
    folder.mkdir(parents=True)
    FIRST.to_parquet(folder / "2021-12-20.parquet")
    (folder / "2021-12-21.parquet").write_bytes(b"not this")

    with pytest.raises(SourceError, match=r"2021-12-21\.parquet is damaged .* The 2 rows before that point are loaded"):
        load_folder(folder.parent, engine, SCHEMA, ("view", "like"), tmp_path)
    assert len(rows_of(engine)) == 2
