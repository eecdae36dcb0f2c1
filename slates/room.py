"""Whether Redis has room for what a run writes, and would keep it: asked before the run begins its work."""

import time
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from slates.cluster import nodes
from slates.errors import NoRoomError
from slates.forecast import Store
from slates.generations import list_generations
from slates.keys import Keys

_FREEING_S = 5.0


@dataclass(frozen=True)
class Room:
    """Memory of one server, in bytes; `most` is its maxmemory, 0 for no limit."""

    used: int
    most: int
    policy: str


def read_rooms(redis: Redis) -> list[Room]:
    """Return the memory of each server that holds keys, once it has freed what was unlinked (or after 5 seconds)."""
    return [_room_of(node) for node in nodes(redis)]


def read_store(redis: Redis) -> Store:
    """Return what the forecast has to know of the server; what it will not tell is taken to be Redis's default."""
    node: Any = nodes(redis)[0]
    try:
        limits = node.config_get("hash-max-*-value").values()
    except RedisError:
        limits = ()
    version = str(node.info("server").get("valkey_version", "0.0")).split(".")
    compact = (int(version[0]), int(version[1])) >= (8, 1)
    return Store(str(node.info("memory").get("mem_allocator", "")), max(map(int, limits), default=64), compact)


def refuse_without_room(redis: Redis, keys: Keys, *, of_generation: int, of_posts: int, keep: int) -> None:
    """Raise NoRoomError where Redis would evict, or lacks the room for all generations that are kept.

    of_generation, of_posts : bytes. Until a new generation is live there is one more than `keep`. On a cluster each
    server is taken to get an equal share.
    """
    held = sum(manifest.state != "writing" for manifest in list_generations(redis, keys))
    missing = keep + 1 - min(held, keep)
    rooms = read_rooms(redis)
    needed = (missing * of_generation + (0 if held else of_posts)) // len(rooms)
    for room in rooms:
        if room.most and room.policy != "noeviction":
            msg = (
                f"Redis would throw slates away when it is full: its maxmemory-policy is {room.policy}, its maxmemory "
                f"{_mb(room.most)}, {_mb(room.used)} are in use, and this run and those after it need {_mb(needed)} "
                "more. Set: redis-cli CONFIG SET maxmemory-policy noeviction"
            )
            raise NoRoomError(msg)
        if room.most and room.used + needed > room.most:
            what = f"a server of the cluster with {len(rooms)}" if len(rooms) > 1 else "Redis"
            msg = (
                f"{what} has room for {_mb(max(room.most - room.used, 0))} (maxmemory {_mb(room.most)}, "
                f"{_mb(room.used)} in use), and {_mb(needed)} are needed: {missing} more generations of "
                f"{_mb(of_generation)}, as keep_generations = {keep} stay and one is being written. Set maxmemory "
                f"to {_mb(room.used + needed)} or more, or codec = packed, or publish fewer hours, a smaller top_n or "
                "keep_generations"
            )
            raise NoRoomError(msg)


def _room_of(node: Redis) -> Room:
    deadline = time.monotonic() + _FREEING_S
    found = node.info("memory")
    while found.get("lazyfree_pending_objects") and time.monotonic() < deadline:
        time.sleep(0.02)
        found = node.info("memory")
    used = int(found["used_memory"]) - int(found.get("mem_not_counted_for_evict", 0))  # buffers of replicas and log
    return Room(used, int(found.get("maxmemory", 0)), str(found.get("maxmemory_policy", "noeviction")))


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
