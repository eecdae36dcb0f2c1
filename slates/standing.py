"""Where a generation stands: the few fields of its manifest that publishing decides on.

They are read without the rest, so that a run can follow, and clear away, generations of another version.
"""

from typing import Any, NamedTuple

from slates.keys import Keys


class Standing(NamedTuple):
    """State ("" where Redis holds no such generation), fencing number of the run, id of the generation before."""

    state: str
    seq: int
    previous: str


def read_live_id(redis: Any, keys: Keys) -> str:
    """Return the id of the live generation, "" where none is; `redis` may be a pipeline that watches."""
    return _text(redis.get(keys.current))


def read_standing(redis: Any, keys: Keys, generation: str) -> Standing:
    """Return where a generation stands; `redis` may be a pipeline that watches."""
    state, seq, previous = map(_text, redis.hmget(keys.generation(generation), ["state", "seq", "previous"]))
    return Standing(state, int(seq) if seq.isdecimal() else 0, previous)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
