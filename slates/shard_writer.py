"""Writes one shard of users, in any process that can reach Redis; written twice, it leaves what it left once.

A shard is noted once all its users are there, with a summary: from that a run that goes on after a killed one knows of
the shard what it would know had it written it itself.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from slates.codec import ACTED_FIELD
from slates.entry import Entry, Row, row_entry, set_field_command
from slates.errors import CodecError
from slates.keys import Keys
from slates.lock import Turn
from slates.pace import Pace, pieces
from slates.refusal import refusal_explained
from slates.wire import send

if TYPE_CHECKING:
    from redis import Redis

_SAMPLES_PER_SHARD = 4


class Sample(NamedTuple):
    """A key that is read back: whether it is a string, and the digest of what GET or HGETALL must answer."""

    key: str
    is_string: bool
    digest: str

    @classmethod
    def of(cls, entry: Entry) -> "Sample":
        """Return the sample of an entry."""
        return cls(entry.key, entry.is_string, digest_stored(entry.stored()))


def digest_stored(stored: bytes | Mapping[bytes, bytes] | None) -> str:
    """Return SHA-256, in hexadecimal, over a string or over the fields of a hash in the order of their names."""
    total = hashlib.sha256()
    parts = (
        [stored or b""]
        if not isinstance(stored, Mapping)
        else [part for pair in sorted(stored.items()) for part in pair]
    )
    for part in parts:
        total.update(b"%d\n" % len(part))
        total.update(part)
    return total.hexdigest()


@dataclass(frozen=True)
class WrittenShard:
    """What a shard holds. sizes : key, whether it is a string, and what STRLEN or HLEN must say; samples : some keys.

    `values` counts slates and what stands beside them, `bytes` is theirs, `longest` as in Entry. `about` is what the
    writer's caller wants to know again.
    """

    number: int
    sizes: list[tuple[str, bool, int]]
    samples: list[Sample]
    values: int
    bytes: int
    longest: int
    about: str = ""

    def summary(self) -> str:
        """Write all but the keys, whose order the reader knows."""
        told = {
            "strings": any(is_string for _, is_string, _ in self.sizes),
            "sizes": " ".join(str(size) for _, _, size in self.sizes),
            "samples": [[key, digest] for key, _, digest in self.samples],
            "values": self.values,
            "bytes": self.bytes,
            "longest": self.longest,
            "about": self.about,
        }
        return json.dumps(told, separators=(",", ":"))


def read_summary(number: int, keys: Sequence[str], summary: bytes) -> WrittenShard:
    """Read what WrittenShard.summary wrote; keys : those of the shard's users. Raises CodecError where it is not it."""
    try:
        told = json.loads(summary)
        strings = bool(told["strings"])
        sizes = [(key, strings, int(size)) for key, size in zip(keys, told["sizes"].split(), strict=True)]
        samples = [Sample(str(key), strings, str(digest)) for key, digest in told["samples"]]
        counts = int(told["values"]), int(told["bytes"]), int(told["longest"])
        return WrittenShard(number, sizes, samples, *counts, str(told["about"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"what is noted of shard {number} cannot be read: {error!r}"
        raise CodecError(msg) from error


@dataclass(frozen=True)
class ShardWriter:
    """What a process must know to write shards of one generation, beside its connection to Redis."""

    keys: Keys
    generation: str
    turn: Turn
    ttl_s: float
    batch: int

    def write(self, redis: "Redis", number: int, users: Iterable[Entry | Row], about: str = "") -> WrittenShard:
        """Write the slates of one shard of users, then note the shard as written.

        Raises StaleRunError where the run has lost its turn meanwhile.
        """
        self.turn.check(redis)
        entries = [self._entry_of_user(user) for user in users]
        write_entries(redis, entries, self.batch)
        written = WrittenShard(
            number,
            [(entry.key, entry.is_string, entry.size) for entry in entries],
            [Sample.of(entry) for entry in entries[:: max(1, len(entries) // _SAMPLES_PER_SHARD)]],
            sum(entry.values for entry in entries),
            sum(entry.value_bytes for entry in entries),
            max((entry.longest for entry in entries), default=0),
            about,
        )
        shards_key = self.keys.shards(self.generation)
        noted = set_field_command(shards_key, b"%d" % number, written.summary().encode(), self.ttl_s)
        with refusal_explained():
            send(redis, [(shards_key, noted, 4)])
        return written

    def _entry_of_user(self, user: Entry | Row) -> Entry:
        if isinstance(user, Entry):
            return user
        longest = max((len(value) for name, value in user[1].items() if name != ACTED_FIELD), default=0)
        return row_entry(user, self.ttl_s, longest=longest)


def write_entries(redis: "Redis", entries: Sequence[Entry], at_most: int) -> None:
    """Send entries, each round trip as many as the pace allows and no more than `at_most`."""
    pace = Pace()
    for piece in pieces(entries, at_most, pace):
        ready = [(entry.key, entry.commands, entry.replies) for entry in piece]
        begun = time.perf_counter()
        with refusal_explained():
            send(redis, ready)
        pace.heard(sum(len(commands) for _, commands, _ in ready), time.perf_counter() - begun)
