"""Opens the connection to Redis; no other room does."""

from typing import Any, cast
from urllib.parse import urlsplit

from redis import Redis, RedisCluster
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from slates.circuit import REDIS_AWAY
from slates.cluster import ClusterClient
from slates.errors import SlatesError
from slates.sentinel import sentinel_client

__all__ = ["REDIS_AWAY", "RedisError", "connect"]

_CLUSTER, _SENTINEL = "+cluster", "+sentinel"
_FAILOVER_RETRIES = 6
"""Of connecting and of each command, which is some 20 seconds in all: a run waits out the election of a new master."""
_MOST_CONNECTIONS = 512
"""To one server, made where they are wanted; redis-py's default is 100, and a server may have 256 threads."""


def connect(url: str, *, timeout_s: float = 5.0, retries: int = 3, may_wait: bool = True) -> Redis:
    """Return a client for `url` that answers bytes, gives up after `timeout_s` and retries broken connections.

    Off, `may_wait` is for whoever has something else to answer: no pause between tries, and what was not answered in
    time is not asked for again.

    `redis+cluster://` and `rediss+cluster://` name any node of a Redis Cluster (see slates.cluster for what its client
    lacks), `redis+sentinel://` and `rediss+sentinel://` sentinels and their service (see slates.sentinel); there
    whoever may wait tries for as long as a failover takes. Nothing is sent before the first command. Raises SlatesError
    when the URL itself is wrong.
    """
    try:
        scheme, _, rest = url.partition("://")  # some urlsplit of Python 3.11 refuse lists of hosts
        scheme = scheme.lower()
        if scheme.endswith(_SENTINEL):
            options = _options(timeout_s, _FAILOVER_RETRIES if may_wait else retries, may_wait=may_wait)
            is_tls = _is_tls(scheme.removesuffix(_SENTINEL))
            return sentinel_client(rest, tls=is_tls, options=options)
        options = _options(timeout_s, retries, may_wait=may_wait)
        if not scheme.endswith(_CLUSTER):
            return Redis.from_url(url, **options)
        return cast("Redis", _cluster(url, scheme.removesuffix(_CLUSTER), options))
    except ValueError as error:
        msg = (
            "REDIS_URL is not a Redis URL; it looks like redis://127.0.0.1:6379/0, rediss://…, unix:///path, "
            "redis+cluster://127.0.0.1:6379 or redis+sentinel://127.0.0.1:26379,…/service"
        )
        raise SlatesError(msg) from error


def _options(timeout_s: float, retries: int, *, may_wait: bool) -> dict[str, Any]:
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries)
    if not may_wait:
        retry = Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,))
    return {
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
        "health_check_interval": 30,
        "max_connections": _MOST_CONNECTIONS,
    }


def _is_tls(scheme: str) -> bool:
    if scheme not in {"redis", "rediss"}:
        msg = f"{scheme} is no scheme of Redis"
        raise ValueError(msg)
    return scheme == "rediss"


def _cluster(url: str, scheme: str, options: dict[str, Any]) -> ClusterClient:
    _is_tls(scheme)
    path = urlsplit(url).path
    if path not in {"", "/", "/0"}:
        msg = f"a Redis Cluster has no database {path[1:]!r}, only 0; give several tenants a prefix each"
        raise SlatesError(msg)
    plain = f"{scheme}:{url.partition(':')[2]}"
    return ClusterClient(lambda: RedisCluster.from_url(plain, **options))
