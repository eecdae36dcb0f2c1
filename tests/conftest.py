"""Real servers for the integration tests, each started by this session, and nothing of the developer's own."""

import contextlib
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest
from fakeredis import FakeServer
from redis import Redis
from sqlalchemy import Engine

from demo.errors import DemoError
from demo.postgres import create_database, drop_database, temporary_postgres
from demo.services import hold_redis
from slates.client import connect
from source.engine import open_engine

ROOT = Path(__file__).resolve().parent.parent
_database_number = count(1)


@pytest.fixture(autouse=True)
def _no_services_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in {"DATABASE_URL", "REDIS_URL"} or (name.startswith("HOURFEED_") and name != "HOURFEED_DATA"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOURFEED_WARM_FILE", "")  # it lies in the working folder, and so would that of a developer


@pytest.fixture
def data_dir() -> Path:
    """Folder of interaction logs; the test needs the mark `data` too."""
    folder = Path(os.environ.get("HOURFEED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist: name the folder of interaction logs by HOURFEED_DATA")
    return folder


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        server = hold_redis(tmp_path_factory.mktemp("state"))
    except DemoError as error:
        _cannot_be_had(f"Redis: {error}")
    with server:
        yield server.url


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """URL of an empty real Redis, this session's own."""
    with contextlib.closing(connect(_redis_server)) as client:
        client.flushall()
    return _redis_server


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Redis]:
    with contextlib.closing(connect(redis_url)) as client:
        yield client


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hourfeed.db'}"


@pytest.fixture(scope="session")
def _postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with contextlib.ExitStack() as running:
        try:
            url = running.enter_context(temporary_postgres(tmp_path_factory.mktemp("postgres")))
        except DemoError as error:
            _cannot_be_had(f"Postgres: {error}")
        yield url


@pytest.fixture
def postgres_url(_postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database in a real Postgres, this session's own."""
    name = f"test_{next(_database_number)}"
    yield create_database(_postgres_server, name)
    drop_database(_postgres_server, name)


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice: on an empty SQLite and on an empty Postgres."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    """Twice, as `database_url`."""
    opened = open_engine(database_url, tmp_path)
    yield opened
    opened.dispose()


@pytest.fixture
def server() -> FakeServer:
    """What lies behind the FakeRedis clients of a test; a test may cut it off."""
    return FakeServer()


def _cannot_be_had(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason)
