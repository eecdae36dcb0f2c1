"""Which databases are opened, and what their errors tell."""

from pathlib import Path

import pytest
from sqlalchemy import text

from source.engine import database_errors, open_engine
from source.errors import SourceError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_all_schemes_of_postgres_mean_psycopg2(scheme: str, tmp_path: Path) -> None:
    engine = open_engine(f"{scheme}://reader:secret@db.example:6543/feeds?sslmode=require", tmp_path)
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg2")
    assert (engine.url.host, engine.url.port, engine.url.database) == ("db.example", 6543, "feeds")
    assert engine.url.query["sslmode"] == "require"


def test_without_a_url_sqlite_lies_in_the_state_folder(tmp_path: Path) -> None:
    engine = open_engine(None, tmp_path / "new" / "state")
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 1
    engine.dispose()
    assert (tmp_path / "new" / "state" / "hourfeed.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host/db",
        "postgresql://me:s3cret@host:port/db",
        "postgresql://me:a:s3cret@host:s3cret",
        "s3cret",
        "",
    ],
)
def test_a_url_of_another_kind_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"allowed are postgresql://.* and sqlite:///") as raised:
        open_engine(url, tmp_path)
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in str(raised.value.__cause__ or "")


def test_an_error_of_the_database_tells_the_place_but_no_password_and_no_row(tmp_path: Path) -> None:
    away = open_engine("postgresql://me:s3cret@127.0.0.1:1/feeds?password=s3cret", tmp_path)
    begin = r"^loading failed in postgresql 127\.0\.0\.1:1/feeds: connection"
    with pytest.raises(SourceError, match=begin) as raised, database_errors(away, "loading"), away.connect():
        pass
    assert "s3cret" not in str(raised.value)
    lite = open_engine("sqlite://", tmp_path)
    query = text("SELECT * FROM absent WHERE name = :name").bindparams(name="private")
    with (
        pytest.raises(SourceError, match=r"^reading failed in sqlite :memory:: no such table: absent$") as raised,
        database_errors(lite, "reading"),
        lite.connect() as connection,
    ):
        connection.execute(query)
    assert "private" not in str(raised.value)
    lite.dispose()
