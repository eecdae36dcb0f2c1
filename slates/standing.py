"""Where a generation stands: the few fields of its manifest that publishing decides on.

They are read without the rest, so that a run can follow, and clear away, generations of another version.
"""

from typing import Any, NamedTuple, cast

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


def names_by_run(redis: Any, keys: Keys) -> list[tuple[str, Standing]]:
    """Return ids and standings of all generations that are noted, the newest run's first.

    The order is that of the fencing numbers: the sorted set has the times of clocks, which may be set back.
    """
    names = [_text(name) for name in cast("list[bytes]", redis.zrevrange(keys.generations, 0, -1))]
    found = [(name, read_standing(redis, keys, name)) for name in names]
    return sorted(found, key=lambda entry: -entry[1].seq)  # stable: what has no manifest any more stays in its order


def newest_seq(redis: Any, keys: Keys) -> int:
    """Return the highest fencing number of all generations that are noted, 0 where there are none."""
    return max((standing.seq for _, standing in names_by_run(redis, keys)), default=0)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
