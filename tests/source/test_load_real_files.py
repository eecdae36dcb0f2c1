"""The folders of interaction logs, as they are."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from source.engine import open_engine
from source.load import LoadReport, load_folder
from source.schema import SourceSchema

ACTIONS = ("view", "like", "bookmark", "comment", "follow")

pytestmark = pytest.mark.data


def load(folder: Path, url: str, tmp_path: Path, query: str) -> tuple[LoadReport, list[tuple[Any, ...]]]:
    engine = open_engine(url, tmp_path)
    try:
        report = load_folder(folder, engine, SourceSchema(), ACTIONS, tmp_path / "quarantine")
        with engine.connect() as connection:
            return report, [tuple(row) for row in connection.execute(text(query))]
    finally:
        engine.dispose()


def counts(report: LoadReport) -> list[tuple[str, int, int, int]]:
    assert not any(file.quarantined for file in report.files)
    return [(file.kind, file.rows, file.new, file.known) for file in report.files]


def test_deskdrop_gives_both_databases_the_same_rows(
    data_dir: Path, sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    # 2,282 of the events are in the file more than once.
    first = [("users", 1_712, 1_712, 0), ("posts", 2_364, 2_364, 0), ("events", 56_340, 54_058, 2_282)]
    again = [("users", 1_712, 0, 1_712), ("posts", 2_364, 0, 2_364), ("events", 56_340, 0, 56_340)]
    seconds = {sqlite_url: "substr({}, 1, 19)", postgres_url: "to_char({}, 'YYYY-MM-DD HH24:MI:SS')"}
    found = []
    for url, written in seconds.items():
        published, timestamp = written.format("published_at"), written.format("timestamp")
        posts = f"SELECT post_id, text, topic, {published} FROM post_text_df ORDER BY post_id"
        events = f"SELECT user_id, post_id, {timestamp}, action FROM feed_data ORDER BY user_id, post_id, 3, action"
        users = "SELECT user_id, country, region FROM user_data ORDER BY user_id"
        answers = []
        for query, expected in ((posts, first), (events, again), (users, again)):
            report, rows = load(data_dir / "deskdrop", url, tmp_path, query)
            assert counts(report) == expected
            answers.append(rows)
        found.append(answers)
    assert [len(answer) for answer in found[0]] == [2_364, 54_058, 1_712]
    assert found[0] == found[1]


def test_karpov_loads_topics_without_texts_and_names_the_file_it_passed_over(
    data_dir: Path, database_url: str, tmp_path: Path
) -> None:
    query = "SELECT count(*), count(text), count(topic) FROM post_text_df"
    report, rows = load(data_dir / "karpov", database_url, tmp_path, query)
    assert counts(report) == [("posts", 7_023, 7_023, 0), ("events", 50_000, 50_000, 0)]
    assert report.ignored == ["post_totals.csv"]
    assert rows == [(7_023, 0, 7_023)]


def test_globo_loads_without_posts_and_with_codes_as_profiles(
    data_dir: Path, postgres_url: str, tmp_path: Path
) -> None:
    query = "SELECT environment, device, os, country, region, referrer FROM user_data WHERE user_id = 0"
    report, rows = load(data_dir / "globo", postgres_url, tmp_path, query)
    assert counts(report) == [("users", 115_268, 115_268, 0), ("events", 437_746, 437_746, 0)]
    assert rows == [(4, 3, "20", "1", 20, 2)]
