from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from source.drained import REMEMBERED, DrainTarget, PostedEvent, Refused, Taken
from source.engine import open_engine
from source.errors import SourceError
from source.schema import EventNames, SourceSchema

AT = datetime(2021, 12, 20, 15, 4, 5, 600_000, tzinfo=UTC)
NOW = datetime(2021, 12, 20, 16, tzinfo=UTC)
PLAIN = (
    "CREATE TABLE feed_data (timestamp timestamp, user_id integer, post_id bigint, action varchar(10), target integer)"
)
UUID = "0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11"


@pytest.fixture
def postgres(postgres_url: str, tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(postgres_url, tmp_path)
    yield engine
    engine.dispose()


def run(engine: Engine, *statements: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows


def event(event_id: str, user_id: str = "7", post_id: str = "1", action: str = "like") -> PostedEvent:
    return PostedEvent(event_id, user_id, post_id, action, AT)


def take_in(target: DrainTarget, *events: PostedEvent, now: datetime = NOW) -> tuple[Taken, list[tuple[str, str]]]:
    aside: list[Refused] = []
    taken = target.take_in(events, now, aside.extend)
    return taken, [(refused.event.event_id, refused.reason) for refused in aside]


def test_events_are_in_the_table_once_however_often_they_come(engine: Engine) -> None:
    run(engine, PLAIN)
    target = DrainTarget(engine, SourceSchema())
    assert take_in(target, event("b"), event("a", "-8"), event("b")) == (Taken(2, 0), [])
    assert take_in(DrainTarget(engine, SourceSchema()), event("a", "-8"), event("c", post_id="2")) == (Taken(1, 0), [])
    found = run(engine, "SELECT user_id, post_id, action, target FROM feed_data ORDER BY user_id, post_id")
    assert found == [(-8, 1, "like", None), (7, 1, "like", None), (7, 2, "like", None)]
    assert [str(at) for (at,) in run(engine, "SELECT timestamp FROM feed_data")] == ["2021-12-20 15:04:05.600000"] * 3


def test_an_event_that_the_table_has_by_its_own_key_is_left(engine: Engine) -> None:
    run(engine, PLAIN, "CREATE UNIQUE INDEX one ON feed_data (user_id, post_id, timestamp, action)")
    target = DrainTarget(engine, SourceSchema())
    take_in(target, event("a"))
    assert take_in(target, event("b"), event("c", "8")) == (Taken(2, 0), [])
    assert run(engine, "SELECT user_id FROM feed_data ORDER BY 1") == [(7,), (8,)]


def test_what_the_table_cannot_take_is_set_aside_and_the_rest_goes_in(engine: Engine) -> None:
    run(engine, PLAIN.replace("post_id bigint", "post_id bigint CHECK (post_id > 0)"))
    events = [event(str(number), post_id=str(number - 20)) for number in range(24)]
    taken, aside = take_in(DrainTarget(engine, SourceSchema()), *events, event("x", "anna"), event("y", str(2**63)))
    assert taken == Taken(26, 23)
    assert run(engine, "SELECT post_id FROM feed_data ORDER BY 1") == [(1,), (2,), (3,)]
    bits = 64 if engine.dialect.name == "sqlite" else 32
    assert {reason for event_id, reason in aside if event_id in "xy"} == {
        f"user_id is not a whole number of {bits} bits"
    }
    assert all("check" in reason.lower() for event_id, reason in aside if event_id not in "xy")
    assert take_in(DrainTarget(engine, SourceSchema()), *events) == (Taken(0, 0), [])


def test_nothing_has_happened_where_the_commit_fails(engine: Engine) -> None:
    run(engine, PLAIN)

    def fail(_refused: Sequence[Refused]) -> None:
        raise SourceError("the disk is full")

    target = DrainTarget(engine, SourceSchema())
    with pytest.raises(SourceError, match="the disk is full"):
        target.take_in([event("a"), event("b", "anna")], NOW, fail)
    assert run(engine, "SELECT * FROM feed_data") == []
    assert take_in(target, event("a"))[0] == Taken(1, 0)


def test_ids_are_forgotten_after_a_week(engine: Engine) -> None:
    run(engine, PLAIN)
    target = DrainTarget(engine, SourceSchema())
    take_in(target, event("a"))
    take_in(target, event("b"), now=NOW + REMEMBERED)
    assert run(engine, "SELECT event_id FROM hourfeed_drained ORDER BY 1") == [("a",), ("b",)]
    take_in(target, event("c"), now=NOW + REMEMBERED + timedelta(hours=2))
    assert run(engine, "SELECT event_id FROM hourfeed_drained ORDER BY 1") == [("b",), ("c",)]


def test_without_a_table_of_events_the_error_says_what_to_do(engine: Engine) -> None:
    with pytest.raises(SourceError, match="there is no table feed_data to put events into; make it"):
        take_in(DrainTarget(engine, SourceSchema()), event("a"))


def test_own_names_and_types_of_postgres(postgres: Engine) -> None:
    run(
        postgres,
        "CREATE SCHEMA app",
        "CREATE TYPE app.deed AS ENUM ('seen', 'liked')",
        "CREATE TABLE app.activity (id serial PRIMARY KEY, at timestamptz, member uuid, article text, deed app.deed)",
    )
    names = EventNames(table="app.activity", timestamp="at", user_id="member", post_id="article", action="deed")
    target = DrainTarget(postgres, SourceSchema(events=names))
    taken, aside = take_in(
        target, event("a", UUID, "x", "liked"), event("b", "anna", "x", "liked"), event("c", UUID, "x", "muted")
    )
    assert taken == Taken(3, 2)
    assert dict(aside)["b"] == "user_id is not a UUID"
    assert "muted" in dict(aside)["c"]
    rows = run(postgres, "SELECT id, at AT TIME ZONE 'UTC', member::text, article, deed::text FROM app.activity")
    assert [row[1:] for row in rows] == [(AT.replace(tzinfo=None), UUID, "x", "liked")]
    assert run(postgres, "SELECT count(*) FROM app.hourfeed_drained") == [(3,)]


def test_a_role_that_may_only_read_gets_an_error_and_nothing_is_lost(postgres: Engine) -> None:
    run(postgres, PLAIN, "ALTER DATABASE " + str(postgres.url.database) + " SET default_transaction_read_only = on")
    postgres.dispose()
    with pytest.raises(SourceError, match="read-only"):
        take_in(DrainTarget(postgres, SourceSchema()), event("a"))
