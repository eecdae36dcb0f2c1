"""The manifest of a generation: what it is, written as a hash of readable strings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from slates.bucket import bucket_name, parse_bucket
from slates.errors import CodecError
from slates.moment import read_second, write_second

State = Literal["writing", "complete", "blocked", "candidate", "live", "superseded", "rolled_back"]
IdType = Literal["integer", "string", "uuid"]
Run = Literal["full", "refresh"]


@dataclass(frozen=True)
class Manifest:
    """All that is known of a generation.

    `first_bucket` and `last_bucket` are hours since 1970 (see slates.bucket); times are aware and in UTC, to the
    second. `slate_bytes` counts the slates as encoded, without Redis's own overhead. `explore_places` are places of a
    slate, from 1 on; `explored` counts those that explore, over all slates. `gate` is what the trained
    ranker was compared with, and how it came out; `alike` the share of users who get what everybody gets, None where
    there are too few to say. `seconds` is by stage,
    `by_bucket` shares from 0 to 1 by what they tell, one for each bucket in order; `guards` is what was measured before
    the flip. `run` is `full` where the ranker was trained, or needs no training, `refresh` where it was an earlier
    run's. `input_digest` stands for all that decides the slates; `resumed` counts shards that were taken over from a
    run that was killed.
    """

    id: str
    seq: int
    state: State
    as_of: datetime
    started_at: datetime
    built_at: datetime | None
    first_bucket: int
    last_bucket: int
    users: int
    posts: int
    slates: int
    segments: int
    shards: int
    top_n: int
    slate_bytes: int
    codec: str
    ranker: str
    user_id_type: IdType
    post_id_type: IdType
    model_digest: str = ""
    config_digest: str = ""
    events: int = 0
    quarantined: int = 0
    previous: str = ""
    explore_places: tuple[int, ...] = ()
    explored: int = 0
    gate: Mapping[str, Any] = field(default_factory=dict)
    alike: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    by_bucket: Mapping[str, list[float]] = field(default_factory=dict)
    guards: Mapping[str, Any] = field(default_factory=dict)
    run: Run | Literal[""] = ""
    input_digest: str = ""
    resumed: int = 0

    @property
    def hours(self) -> int:
        """Return how many buckets the generation has."""
        return self.last_bucket - self.first_bucket + 1

    def to_hash(self) -> dict[str, str]:
        """Write the manifest as the fields of a Redis hash."""
        return {name: _write(name, getattr(self, name)) for name in _NAMES}

    @classmethod
    def from_hash(cls, raw: Mapping[bytes, bytes]) -> "Manifest":
        """Read what `to_hash` wrote; unknown fields are passed over, a missing one raises CodecError.

        Fields that earlier versions did not write may be missing: what they left live must stay readable.
        """
        try:
            texts = {name.decode(): value.decode() for name, value in raw.items()}
        except UnicodeDecodeError as error:
            msg = f"a manifest is text, this is not: {error.object[:60]!r}"
            raise CodecError(msg) from error
        missing = _NAMES.keys() - texts.keys() - _ADDED
        if missing:
            msg = f"the manifest lacks {', '.join(sorted(missing))}; was it written by another version of hourfeed?"
            raise CodecError(msg)
        try:
            return cls(**{name: _read(name, texts[name]) for name in _NAMES if name in texts})
        except ValueError as error:
            msg = f"the manifest of generation {texts['id']!r} cannot be read: {error}"
            raise CodecError(msg) from error


_NAMES = {entry.name: entry.type for entry in fields(Manifest)}
_ADDED = {
    *("explore_places", "explored", "gate", "alike", "events", "by_bucket", "guards"),
    *("run", "input_digest", "resumed"),
}
_JSON = {"seconds", "gate", "by_bucket", "guards"}
_TIMES = {"as_of", "started_at", "built_at"}
_BUCKETS = {"first_bucket", "last_bucket"}
_COUNTS = {name for name, kind in _NAMES.items() if kind is int} - _BUCKETS


def _write(name: str, value: Any) -> str:
    if name in _TIMES:
        return write_second(value) if value else ""
    if name in _BUCKETS:
        return bucket_name(value)
    if name in _JSON:
        return json.dumps(value, separators=(",", ":"))
    if name == "explore_places":
        return " ".join(map(str, value))
    if name == "alike":
        return "" if value is None else f"{value:.4f}"
    return str(value)


def _read(name: str, text: str) -> Any:
    if name in _TIMES:
        return read_second(text) if text else None
    if name in _BUCKETS:
        return parse_bucket(text)
    if name in _COUNTS:
        return int(text)
    if name == "explore_places":
        return tuple(map(int, text.split()))
    if name == "alike":
        return float(text) if text else None
    return json.loads(text) if name in _JSON else text
