"""Redis Sentinel: a client that asks the sentinels where the master is, each time that it connects."""

from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

_PORT = 26_379
_SENTINEL_TIMEOUT_S = 1.0
_OWN = {"sentinel_username": "username", "sentinel_password": "password"}


def sentinel_client(rest: str, *, tls: bool, options: dict[str, Any]) -> Redis:
    """Return a client of the master that the sentinels name; nothing is sent yet.

    rest : the URL behind `redis+sentinel://`: `[user:password@]host[:port],…/service[/database]`, then perhaps
    `?sentinel_username=…&sentinel_password=…`. options : of the connections to the master. Raises ValueError on
    anything else.
    """
    place, _, query = rest.partition("?")
    hosts, _, path = place.partition("/")
    credentials, _, hosts = hosts.rpartition("@")
    service, _, database = path.partition("/")
    unknown = [name for name, _ in parse_qsl(query) if name not in _OWN]
    if not hosts or not service or unknown:
        raise ValueError("no hosts, no service, or an option that is none")
    user, _, password = credentials.partition(":")
    master = {
        **options,
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "db": int(database or 0),
        **({"ssl": True} if tls else {}),
    }
    asking = {
        **{_OWN[name]: value for name, value in parse_qsl(query)},
        **({"ssl": True} if tls else {}),
        "protocol": options["protocol"],
        "socket_timeout": min(options["socket_timeout"], _SENTINEL_TIMEOUT_S),
        "socket_connect_timeout": min(options["socket_timeout"], _SENTINEL_TIMEOUT_S),
        "retry": Retry(NoBackoff(), 0),  # the next sentinel is asked instead
    }
    addresses = [_address(host) for host in hosts.split(",")]
    sentinels = cast("Any", Sentinel)(addresses, sentinel_kwargs=asking, **master)  # untyped
    client: Redis = sentinels.master_for(unquote(service))
    return client


def _address(host: str) -> tuple[str, int]:
    """Read `host`, `host:port` or `[IPv6]:port`."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, str(_PORT)
    if not name:
        raise ValueError("a host without a name")
    return name.strip("[]"), int(port)
