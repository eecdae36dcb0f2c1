"""What a generation holds, in a form that two generations can be compared in."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from redis import Redis

from slates.keys import Keys

Digests = Mapping[str, bytes]
"""A key's name without the prefix and the generation's id → digest of its fields and values."""

_BATCH = 500


def digest_slates(redis: Redis, keys: Keys, generation: str) -> dict[str, bytes]:
    """Return a digest of all that a generation holds beside its manifest and its shards, byte for byte."""
    stem = keys.generation(generation) + ":"
    names = (name for name in keys_of(redis, keys, generation) if name != keys.shards(generation))
    digests = {}
    while batch := list(itertools.islice(names, _BATCH)):
        kinds = _at_once(redis, [("TYPE", name) for name in batch])
        read = [("GET" if kind == b"string" else "HGETALL", name) for kind, name in zip(kinds, batch, strict=True)]
        for name, value in zip(batch, _at_once(redis, read), strict=True):
            digests[name.removeprefix(stem)] = _digest(value if isinstance(value, dict) else {b"": value})
    return digests


def _at_once(redis: Redis, commands: Sequence[tuple[str, str]]) -> list[Any]:
    with redis.pipeline(transaction=False) as pipeline:
        untyped: Any = pipeline
        for command in commands:
            untyped.execute_command(*command)
        return pipeline.execute()


def keys_of(redis: Redis, keys: Keys, generation: str, kind: str = "") -> Iterator[str]:
    """Yield the names of a generation's keys other than its manifest; `kind` is "user", "segment" or any."""
    found = redis.scan_iter(match=f"{keys.generation(generation)}:{kind}*", count=5_000)
    seen = set()
    for name in cast("Iterator[bytes]", found):
        if name not in seen:  # SCAN may tell of a key twice
            seen.add(name)
            yield name.decode()


def _digest(fields: Mapping[bytes, bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(fields.items()):
        for part in (name, value):
            digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def differing_keys(one: Digests, other: Digests) -> list[str]:
    """Return, sorted, the names that only one of them has, or that hold something else in the other."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
