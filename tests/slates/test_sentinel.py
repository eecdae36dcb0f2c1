from typing import Any

import pytest

from slates.client import connect
from slates.errors import SlatesError


def parts(url: str, **options: Any) -> tuple[Any, Any]:
    """The pool of the master's connections, and the sentinels' addresses."""
    pool: Any = connect(url, **options).connection_pool
    asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    return pool, [(each["host"], each["port"]) for each in asked]


def test_a_sentinel_url_names_sentinels_service_database_and_the_masters_password() -> None:
    pool, asked = parts("redis+sentinel://me:p%40ss@one:1,two,[::1]:3/feeds/5?sentinel_password=s")
    assert asked == [("one", 1), ("two", 26_379), ("::1", 3)]
    assert pool.service_name == "feeds"
    assert [pool.connection_kwargs[name] for name in ("username", "password", "db")] == ["me", "p@ss", 5]
    assert pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs["password"] == "s"


def test_a_run_waits_out_a_failover_and_a_request_does_not() -> None:
    tries = [
        parts("redis+sentinel://one/feeds", retries=1, may_wait=may_wait)[0].connection_kwargs["retry"].get_retries()
        for may_wait in (True, False)
    ]
    assert tries == [6, 1]


def test_by_rediss_the_sentinels_are_asked_over_tls_too() -> None:
    pool, _ = parts("rediss+sentinel://one/feeds")
    sentinel = pool.sentinel_manager.sentinels[0].connection_pool
    assert "SSL" in pool.connection_class.__name__
    assert "SSL" in sentinel.connection_class.__name__


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one:1",
        "redis+sentinel:///feeds",
        "redis+sentinel://one:port/feeds",
        "redis+sentinel://one/feeds/nine",
        "redis+sentinel://one/feeds?surplus=1",
        "http+sentinel://one/feeds",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(SlatesError, match=r"REDIS_URL is not a Redis URL"):
        connect(url)
