"""Writes one shard of users, in any process that can reach Redis; written twice, it leaves what it left once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slates.batches import batches
from slates.codec import ACTED_FIELD
from slates.entry import Entry, Row, row_entry, set_command
from slates.keys import Keys
from slates.lock import Turn
from slates.refusal import refusal_explained
from slates.wire import send

if TYPE_CHECKING:
    from redis import Redis

_SAMPLES_PER_SHARD = 4


@dataclass(frozen=True)
class WrittenShard:
    """What a shard holds. sizes : key, whether it is a string, and what STRLEN or HLEN must say; samples : some keys.

    `values` counts slates and what stands beside them, `bytes` is theirs, `longest` as in Entry.
    """

    number: int
    sizes: list[tuple[str, bool, int]]
    samples: list[Entry]
    values: int
    bytes: int
    longest: int


@dataclass(frozen=True)
class ShardWriter:
    """What a process must know to write shards of one generation, beside its connection to Redis."""

    keys: Keys
    generation: str
    turn: Turn
    ttl_s: float
    batch: int

    def write(self, redis: "Redis", number: int, users: Iterable[Entry | Row]) -> WrittenShard:
        """Write the slates of one shard of users, then note the shard as written.

        Raises StaleRunError where the run has lost its turn meanwhile.
        """
        self.turn.check(redis)
        entries = [self._entry_of_user(user) for user in users]
        write_entries(redis, entries, self.batch)
        shards_key = self.keys.shards(self.generation)
        with refusal_explained():
            send(redis, [(shards_key, set_command(shards_key, b"%d" % number, self.ttl_s), 4)])
        return WrittenShard(
            number,
            [(entry.key, entry.is_string, entry.size) for entry in entries],
            entries[:: max(1, len(entries) // _SAMPLES_PER_SHARD)],
            sum(entry.values for entry in entries),
            sum(entry.value_bytes for entry in entries),
            max((entry.longest for entry in entries), default=0),
        )

    def _entry_of_user(self, user: Entry | Row) -> Entry:
        if isinstance(user, Entry):
            return user
        longest = max((len(value) for name, value in user[1].items() if name != ACTED_FIELD), default=0)
        return row_entry(user, self.ttl_s, longest=longest)


def write_entries(redis: "Redis", entries: Sequence[Entry], at_once: int) -> None:
    """Send entries, `at_once` of them in one round trip."""
    for batch in batches(entries, at_once):
        with refusal_explained():
            send(redis, [(entry.key, entry.commands, entry.replies) for entry in batch])
