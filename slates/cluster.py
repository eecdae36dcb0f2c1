"""Redis Cluster: what differs from a single Redis, in one place.

redis-py's own transactions on a cluster are not used: where the connection breaks between WATCH and EXEC they send the
EXEC again, unwatched. All keys that change together share a slot (`Keys.tagged`), so the node of that slot does it.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Self, cast

from redis import Redis, RedisCluster
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from slates.keys import Keys


class ClusterClient:
    """A RedisCluster that connects at its first use, not when it is made: a server starts before its Redis does.

    It has the commands of a Redis, but `pipeline()` is for commands that need not be one transaction.
    """

    def __init__(self, make: Callable[[], RedisCluster]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: RedisCluster | None = None

    @property
    def cluster(self) -> RedisCluster:
        """Return the client; raise redis-py's ConnectionError where no node answers."""
        with self._making:
            if self._made is None:
                try:
                    self._made = self._make()
                except RedisClusterException as error:
                    raise RedisConnectionError(str(error)) from error
            return self._made

    def __getattr__(self, name: str) -> Any:
        """Return what the client has by that name."""
        return getattr(self.cluster, name)

    def close(self) -> None:
        """Close all connections."""
        if self._made is not None:
            self._made.close()

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.close()


def cluster_of(redis: Redis) -> RedisCluster | None:
    """Return the cluster's client, None for a single Redis."""
    return redis.cluster if isinstance(redis, ClusterClient) else None


def keys_of(redis: Redis, prefix: str, arm: str | None = None) -> Keys:
    """Return the names of the keys under a prefix; on a cluster those that change together have a hash tag."""
    return Keys(prefix, isinstance(redis, ClusterClient), arm or "")


def control(redis: Redis, keys: Keys) -> Redis:
    """Return the client of the node that holds all keys which change together; of a single Redis, itself."""
    cluster = cluster_of(redis)
    if cluster is None:
        return redis
    cluster.exists(keys.current)  # follows the slot if it has moved, which the node's own client does not
    node = cluster.nodes_manager.get_node_from_slot(key_slot(keys.current.encode()))
    return cluster.get_redis_connection(node)


def by_node(cluster: RedisCluster, keys: Iterable[str]) -> dict[Redis, list[int]]:
    """Return for each node's client the places of the keys that it holds."""
    places: dict[Redis, list[int]] = {}
    for place, key in enumerate(keys):
        node = cluster.nodes_manager.get_node_from_slot(key_slot(key.encode()))
        places.setdefault(cluster.get_redis_connection(node), []).append(place)
    return places


def run_ids(redis: Redis) -> frozenset[str]:
    """Return the servers that hold keys, by the number that each has drawn at its start; it ends with a failover."""
    return frozenset(str(cast("Any", node).info("server")["run_id"]) for node in nodes(redis))


def nodes(redis: Redis) -> list[Redis]:
    """Return a client for each server that holds keys."""
    cluster = cluster_of(redis)
    if cluster is None:
        return [redis]
    return [cluster.get_redis_connection(node) for node in cast("Any", cluster).get_primaries()]
