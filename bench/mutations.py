"""Damage to bytes, of files of any form; the same seed does the same."""

import math
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Random = np.random.Generator
NASTY_TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "1e999",
    "-0.0",
    "NaN",
    "inf",
    "null",
    "None",
    "99999999999999999999999999999999",
    "9" * 5_000,
    "9223372036854775807",
    "-9223372036854775809",
    "2021-13-45 99:99:99",
    "9999-12-31T23:59:59.999999999+23:59",
    "0000-00-00",
    "1969-12-31 23:59:59",
    "\x1b[2J\x1b]0;owned\x07",
    "a\x00b",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE feed_data; --",
    '"',
    '""',
    '"unclosed',
    "\r",
    "\n",
    ",",
    "\u202egnp.exe",
    "\ufeff",
    "\ud7ff\U0010ffff",
    "x" * 100_000,
    "../../../../etc/passwd",
    "%s%n%x",
    "${jndi:ldap://x}",
    "{{7*7}}",
)
"""What nobody expects in a field."""


def pick(random: Random, options: Sequence[T]) -> T:
    """Return one of them."""
    return options[int(random.integers(len(options)))]


def damage_bytes(data: bytes, random: Random) -> bytes:
    """Do one to eight of: flip bits, cut, remove, repeat, move or overwrite a piece, insert what does not belong."""
    content = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        if not content:
            break
        pick(random, _DAMAGES)(content, random)
    return bytes(content)


def _piece(content: bytearray, random: Random) -> slice:
    begin = int(random.integers(len(content)))
    return slice(begin, begin + int(2 ** random.uniform(0, math.log2(len(content) + 1))))


def _flip(content: bytearray, random: Random) -> None:
    for place in random.integers(0, len(content), int(2 ** random.uniform(0, 6))):
        content[place] ^= 1 << int(random.integers(8))


def _cut(content: bytearray, random: Random) -> None:
    del content[int(random.integers(len(content))) :]


def _remove(content: bytearray, random: Random) -> None:
    del content[_piece(content, random)]


def _repeat(content: bytearray, random: Random) -> None:
    piece = _piece(content, random)
    content[piece.start : piece.start] = bytes(content[piece])


def _move(content: bytearray, random: Random) -> None:
    piece = _piece(content, random)
    taken = bytes(content[piece])
    del content[piece]
    at = int(random.integers(len(content) + 1))
    content[at:at] = taken


def _overwrite(content: bytearray, random: Random) -> None:
    piece = _piece(content, random)
    size = len(content[piece])
    content[piece] = (
        random.bytes(size) if random.random() < 0.5 else bytes([pick(random, [0, 0x20, 0x7F, 0xFF])]) * size
    )


def _insert(content: bytearray, random: Random) -> None:
    at = int(random.integers(len(content) + 1))
    text = pick(random, NASTY_TEXTS)
    content[at:at] = text.encode() if random.random() < 0.8 else random.bytes(int(random.integers(1, 200)))


def _number(content: bytearray, random: Random) -> None:
    """Overwrite four or eight bytes, where a length may stand, with an extreme number."""
    at = int(random.integers(len(content)))
    wide = bool(random.random() < 0.5)
    value = int(pick(random, [0, 1, 2**31 - 1, 2**32 - 1] if not wide else [0, 2**40, 2**62, 2**63 - 1]))
    content[at : at + (8 if wide else 4)] = struct.pack("<Q" if wide else "<I", value)


_DAMAGES: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip,
    _flip,
    _cut,
    _remove,
    _repeat,
    _move,
    _overwrite,
    _insert,
    _number,
)
