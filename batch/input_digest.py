"""The digest of all that decides a run's slates: two runs of one digest write the same bytes under the same keys."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.settings import BatchSettings
from batch.tables import Tables

PACKAGES = ("hourfeed", "numpy", "scipy", "numba", "lightgbm", "redis")
"""Packages that a slate's bytes depend on."""
_ROOMS = ("batch", "slates", "source")
_NO_MATTER = {
    *("database_url", "drain_database_url", "redis_url", "state", "prefix", "arm", "arms"),
    *("publish_batch", "engine", "scheduler", "keep_generations", "deadlines", "lock_ttl_s", "full_schedule"),
}
"""Settings that change neither a slate nor how long it lives."""


def input_digest(
    settings: BatchSettings, tables: Tables, ranker: str, model_digest: str, chunks: Sequence[range]
) -> str:
    """Return SHA-256, in hexadecimal, over what was read, the settings, the model, this code, and the shards' users."""
    total = hashlib.sha256(code_digest().encode())
    total.update(settings.model_dump_json(exclude=_NO_MATTER).encode())
    cuts = [[chunk.start, chunk.stop] for chunk in chunks]
    total.update(json.dumps([ranker, model_digest, tables.as_of_s, tables.actions, cuts]).encode())
    with ThreadPoolExecutor() as pool:  # a long log takes a second, and hashing lets go of the interpreter's lock
        for digest in pool.map(_digest, *zip(*_arrays(tables), strict=True)):
            total.update(digest)
    return total.hexdigest()


def _digest(name: str, array: NDArray[Any]) -> bytes:
    content = hashlib.sha256(f"{name} {array.dtype} {array.shape}\n".encode())
    if array.dtype.kind == "O":
        content.update("\n".join(map(repr, array.tolist())).encode())
    else:
        content.update(np.ascontiguousarray(array).data)
    return content.digest()


def _arrays(tables: Tables) -> Iterator[tuple[str, NDArray[Any]]]:
    yield "relevance", tables.relevance
    for kind, table in (("posts", tables.posts), ("events", tables.events)):
        yield from ((f"{kind}.{name}", array) for name, array in vars(table).items())
    yield "users.ids", tables.users.ids
    yield from ((f"users.{name}", column) for name, column in sorted(tables.users.profile.items()))


@cache
def code_digest() -> str:
    """Return SHA-256 over the versions of the packages and over the source of the rooms that make slates.

    The source too, as an installation from a checkout keeps its version while the code changes.
    """
    total = hashlib.sha256(json.dumps({name: metadata.version(name) for name in PACKAGES}).encode())
    root = Path(__file__).resolve().parent.parent
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            total.update(f"{path.relative_to(root)}\n".encode())
            total.update(path.read_bytes())
    return total.hexdigest()
