"""What killed runs left half-written, for a run that goes on from there."""

from typing import cast

from redis import Redis

from slates.generations import list_generations
from slates.keys import Keys
from slates.manifest import Manifest

_LIFE_LEFT = 0.9
"""Share of the TTL that must be left: keys that were written long ago would end long before the others."""


def half_written(redis: Redis, keys: Keys, run: int, ttl_s: float) -> list[Manifest]:
    """Return the manifests of generations that runs before `run` (a seq) left half-written, the newest run's first."""
    found = [
        manifest for manifest in list_generations(redis, keys) if manifest.state == "writing" and manifest.seq < run
    ]
    return [manifest for manifest in found if redis.ttl(keys.generation(manifest.id)) >= _LIFE_LEFT * ttl_s]


def noted_shards(redis: Redis, keys: Keys, generation: str) -> dict[int, bytes]:
    """Return the summaries of the shards that are written, by their numbers."""
    noted = cast("dict[bytes, bytes]", redis.hgetall(keys.shards(generation)))
    return {int(number): summary for number, summary in noted.items()}
