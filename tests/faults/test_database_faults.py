"""Postgres stopped, hung, cut off amid its rows, locked, or with another schema than before."""

import time
from pathlib import Path

import psycopg2
import pytest
from redis import Redis
from sqlalchemy import text
from tiny_network import EXACT, ask_of, feed, fill, publish, rung, settings_of, statements

from bench.generation import differing_keys, digest_slates
from bench.proxy import Proxy
from slates.generations import live_generation
from slates.keys import Keys
from source.engine import LOCK_WAIT_S, bound_lock_waits, open_engine
from source.errors import SourceError

KEYS = Keys()


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> str:
    return fill(postgres_url, tmp_path)


def test_postgres_stopped_changes_nothing_for_readers_and_a_batch_says_so(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    with Proxy(database) as proxy:
        settings = settings_of(proxy.url, redis_url, tmp_path / "state")
        before = publish(settings)
        server = ask_of(redis_url, database_url=proxy.url, database_timeout_s=1)
        expected = feed(server)
        proxy.refuse()
        with pytest.raises(SourceError, match=r"reading failed in postgresql 127\.0\.0\.1:\d+/test_\d+: .*refused"):
            publish(settings)
        assert feed(server) == expected
        assert server.get("/user/203").status_code == 503  # one of the routes that read the database
        proxy.recover()
        assert publish(settings).previous == before.id


def test_postgres_that_takes_connections_and_answers_nothing_is_given_up(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    with Proxy(database) as proxy:
        settings = settings_of(f"{proxy.url}?connect_timeout=2", redis_url, tmp_path / "state")
        publish(settings)
        proxy.withhold()
        begun = time.monotonic()
        with pytest.raises(SourceError, match="timeout expired"):
            publish(settings)
        assert time.monotonic() - begun < 10


def test_a_batch_cut_off_in_mid_copy_fails_whole_and_leaves_the_event_log_valid(
    database: str, redis_url: str, redis_client: Redis, tmp_path: Path
) -> None:
    with Proxy(database) as proxy:
        settings = settings_of(proxy.url, redis_url, tmp_path / "state")
        before = publish(settings)
        of_first = proxy.answered
        expected = digest_slates(redis_client, KEYS, before.id)
        for part in (0.3, 0.6, 0.9):
            proxy.cut_after(int(part * of_first))
            with pytest.raises(SourceError, match="reading failed in postgresql"):
                publish(settings, full_refresh=True)
            proxy.recover()
            live = live_generation(redis_client, KEYS)
            assert live is not None
            assert live.id == before.id
            before = publish(settings)  # goes on with the log that is there
            assert differing_keys(digest_slates(redis_client, KEYS, before.id), expected) == []
        assert proxy.cuts == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE feed_data DROP COLUMN user_id", "user_id"),
        ("ALTER TABLE feed_data RENAME COLUMN post_id TO article", "post_id"),
        ("ALTER TABLE feed_data ALTER COLUMN timestamp TYPE text", "timestamp"),
        ("ALTER TABLE post_text_df RENAME COLUMN post_id TO article", "post_id"),
        ("ALTER TABLE feed_data RENAME TO events", "feed_data"),
    ],
)
def test_a_schema_that_changed_between_two_runs_is_named_and_readers_keep_what_they_have(
    database: str, redis_url: str, tmp_path: Path, change: str, named: str
) -> None:
    settings = settings_of(database, redis_url, tmp_path / "state")
    before = publish(settings)
    server = ask_of(redis_url)
    with statements(database, tmp_path) as run:
        run(change)
    with pytest.raises(Exception, match=named) as raised:
        publish(settings)
    assert type(raised.value).__name__ in {"SourceError", "BatchError"}, raised.value
    assert feed(server)[:2] == (EXACT, before.id)


def test_a_column_that_is_merely_used_may_go_and_ids_may_become_text(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    settings = settings_of(database, redis_url, tmp_path / "state")
    publish(settings)
    server = ask_of(redis_url)
    with statements(database, tmp_path) as run:
        run("ALTER TABLE post_text_df DROP COLUMN topic")
        run("ALTER TABLE user_data DROP COLUMN age")
        for table in ("feed_data", "user_data"):
            run(f"ALTER TABLE {table} ALTER COLUMN user_id TYPE text")
    after = publish(settings)
    assert (after.user_id_type, after.users) == ("string", 20)
    assert feed(server)[:2] == (EXACT, after.id)


def test_a_locked_table_is_waited_for_within_bounds(database: str, redis_url: str, tmp_path: Path) -> None:
    settings = settings_of(database, redis_url, tmp_path / "state")
    publish(settings)
    server = ask_of(redis_url)
    with statements(database, tmp_path) as run:
        run(f"ALTER DATABASE {database.rpartition('/')[2]} SET lock_timeout = '300ms'")  # instead of the batch's own
    holder = psycopg2.connect(database.replace("+psycopg2", ""))
    try:
        holder.cursor().execute("LOCK TABLE feed_data IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(SourceError, match="lock timeout; another session has locked a table"):
            publish(settings)
        assert time.monotonic() - begun < 5
        assert rung(server) == EXACT
        holder.rollback()
        publish(settings)
    finally:
        holder.close()


def test_a_transaction_of_a_batch_waits_for_locks_as_long_as_it_should(database: str, tmp_path: Path) -> None:
    engine = open_engine(database, tmp_path)
    with engine.connect() as connection:
        bound_lock_waits(connection)
        assert connection.execute(text("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")).scalar_one() == (
            str(LOCK_WAIT_S * 1_000)
        )
    engine.dispose()
