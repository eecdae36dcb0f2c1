"""An entry: one key of a generation, as the commands that write it with its TTL, and what must lie there afterwards."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from slates.resp import bulk, command, read_commands

_JITTER = 0.1
_MULTI, _EXEC = command(b"MULTI"), command(b"EXEC")

Row = tuple[str, Mapping[str, str | bytes]]
"""A Redis key and the fields of its hash."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its commands.

    `size` is what HLEN, or STRLEN for a string, must say; `values` counts slates and what stands beside them,
    `value_bytes` their bytes, `longest` those of the longest slate that is a field of a hash.
    """

    key: str
    commands: bytes
    is_string: bool
    size: int
    values: int
    value_bytes: int
    longest: int = 0

    @property
    def replies(self) -> int:
        """Return how many replies the commands get."""
        return 1 if self.is_string else 4

    def stored(self) -> bytes | dict[bytes, bytes]:
        """Return what GET, or HGETALL for a hash, must answer."""
        if self.is_string:
            return read_commands(self.commands)[0][2]
        fields = read_commands(self.commands)[1][2:]
        return dict(zip(fields[::2], fields[1::2], strict=True))


def expiry_s(key: str, ttl_s: float) -> int:
    """Return the seconds that `key` lives: `ttl_s`, and up to a tenth more, so that not all keys end in one instant."""
    return math.ceil(ttl_s * (1 + _JITTER * zlib.crc32(key.encode()) / 2**32))


def hash_entry(key: str, body: bytes, n_fields: int, ttl_s: float, *, value_bytes: int, longest: int = 0) -> Entry:
    """Write a hash; `body` holds names and values of its fields in turn, each as `resp.bulk`.

    Value and TTL come in a transaction of their own: a stream of commands may be cut anywhere, and between HSET and
    EXPIRE it would leave a key for ever. One transaction for many keys would make readers wait for all of them, and a
    script takes Redis twice as long.
    """
    hset = b"*%d\r\n$4\r\nHSET\r\n" % (2 + 2 * n_fields)
    commands = b"".join((_MULTI, hset, bulk(key.encode()), body, _expire(key, ttl_s), _EXEC))
    return Entry(key, commands, False, n_fields, n_fields, value_bytes, longest)


def row_entry(row: Row, ttl_s: float, *, longest: int = 0) -> Entry:
    """Write the hash of a row."""
    key, fields = row
    pairs = [(name.encode(), _to_bytes(value)) for name, value in fields.items()]
    body = b"".join(bulk(name) + bulk(value) for name, value in pairs)
    value_bytes = sum(len(value) for _, value in pairs)
    return hash_entry(key, body, len(pairs), ttl_s, value_bytes=value_bytes, longest=longest)


def string_entry(key: str, value: bytes, ttl_s: float, *, values: int = 1) -> Entry:
    """Write a string, which takes its TTL in the same command."""
    commands = command(b"SET", key.encode(), value, b"EX", b"%d" % expiry_s(key, ttl_s))
    return Entry(key, commands, True, len(value), values, len(value))


def set_field_command(key: str, name: bytes, value: bytes, ttl_s: float) -> bytes:
    """Write what sets one field of a hash, and gives the hash its TTL anew; it gets four replies."""
    return b"".join((_MULTI, command(b"HSET", key.encode(), name, value), _expire(key, ttl_s), _EXEC))


def _expire(key: str, ttl_s: float) -> bytes:
    return command(b"EXPIRE", key.encode(), b"%d" % expiry_s(key, ttl_s))


def _to_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
