"""Runs from end to end by the real commands, out of a real Postgres, with a small network: what must be exact."""

from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from bench.batches import Batches
from bench.figures import judge, read_targets
from bench.growth import _CUTS
from bench.network import Network, end_of_log, insert_new_events, run_sql
from bench.scale import refresh
from demo.parameters import Parameters
from demo.simulate import simulate
from source.engine import open_engine
from source.schema import SourceSchema

PARAMETERS = Parameters(users=150, posts=120, days=6)


@pytest.fixture
def at(postgres_url: str, tmp_path: Path) -> Network:
    engine = open_engine(postgres_url, tmp_path)
    simulate(PARAMETERS, engine, SourceSchema(), tmp_path)
    engine.dispose()
    return Network(postgres_url, PARAMETERS.end, {})


def test_a_refresh_publishes_what_a_run_that_reads_all_anew_does(
    at: Network, redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    quick = {"HOURFEED_GATE_DAYS": "0", "HOURFEED_TREES": "10", "HOURFEED_TRAIN_GROUPS": "300", "HOURFEED_HOURS": "3"}
    events = run_sql(at.url, "SELECT count(*) FROM feed_data")
    batches = Batches(tmp_path / "state", at.url, redis_client, redis_url, quick)
    first = batches.run("first", at.end)
    figures = refresh(batches, at)
    verdicts = judge(figures, read_targets("scale_smaller"))
    assert [verdict.figure for verdict in verdicts if not verdict.ok] == []
    assert first["first.rows_read"] == first["first.events"] == events
    assert figures["refresh.events"] == events + figures["refresh.new_events"]
    assert figures["refresh.keys"] > PARAMETERS.users
    assert figures["refresh.plan.bytes"] > 0
    assert run_sql(at.url, "SELECT count(*) FROM feed_data") == events


def test_new_events_are_those_of_ten_minutes_twelve_hours_before(at: Network) -> None:
    assert end_of_log(at.url) == PARAMETERS.end
    inserted = insert_new_events(at.url, PARAMETERS.end)
    span = "timestamp >= timestamp '2021-12-29 12:00' AND timestamp < timestamp '2021-12-29 12:10'"
    assert inserted == run_sql(at.url, f"SELECT count(*) FROM feed_data WHERE {span}") > 0
    assert end_of_log(at.url) == replace(PARAMETERS, end=PARAMETERS.end).end.replace(hour=1)


@pytest.mark.parametrize(
    ("axis", "names"),
    [("users", ("user_data", "user_id")), ("posts", ("post_text_df", "post_id")), ("events", None)],
)
def test_a_cut_has_a_part_and_all_that_goes_with_it_and_is_gone_afterwards(
    axis: str, names: tuple[str, str] | None, at: Network
) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'bench%'"
    with _CUTS[axis](at, 4) as cut:
        events, schema = run_sql(at.url, "SELECT count(*) FROM bench_events"), cut.schema
        if names is None:
            late = "SELECT min(timestamp) + (max(timestamp) - min(timestamp)) * 3 / 4 FROM feed_data"
            expected = run_sql(at.url, f"SELECT count(*) FROM feed_data WHERE timestamp >= ({late})")
        else:
            table, key = names
            part = getattr(schema, axis).table
            all_, kept = (run_sql(at.url, f"SELECT count(*) FROM {name}") for name in (table, part))
            assert 0.1 * all_ < kept < 0.4 * all_
            expected = run_sql(at.url, f"SELECT count(*) FROM feed_data JOIN {part} USING ({key})")
        assert events == expected > 0
        assert cut.environment()["HOURFEED_SOURCE__EVENTS__TABLE"] == "bench_events"
    assert run_sql(at.url, tables) == 0


def test_fewer_hours_are_a_setting(at: Network) -> None:
    with _CUTS["hours"](at, 4) as cut:
        assert cut.environment()["HOURFEED_HOURS"] == "6"
