"""The codec `packed`: a user's slates in one string, of numbers that count in the generation's list of posts.

First the slates, bucket after bucket, each of `top_n` numbers; then how many posts follow that the user is not to be
shown, and those; the rest is the name of the user's segment. A number that stands for no post has all its bits set.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from slates.errors import CodecError
from slates.manifest import Manifest

CODEC = "packed"


class Unpacked(NamedTuple):
    """What a user's string says of one bucket."""

    slate: list[str]
    acted: list[str]
    segment: str | None


@dataclass(frozen=True)
class Layout:
    """Sizes of a generation's strings; `n_posts` is the length of its list of posts."""

    hours: int
    top_n: int
    n_posts: int

    @classmethod
    def of(cls, manifest: Manifest) -> "Layout":
        """Return the layout of a generation."""
        return cls(manifest.hours, manifest.top_n, manifest.posts)

    @property
    def width(self) -> int:
        """Return the bytes of a number: 2 where that is enough for every post and "no post", else 4."""
        return 2 if self.n_posts < 2**16 else 4

    @property
    def none(self) -> int:
        """Return the number that stands for no post."""
        return (1 << 8 * self.width) - 1

    @property
    def slates_bytes(self) -> int:
        """Return the bytes of all slates of a user."""
        return self.hours * self.top_n * self.width

    def pack(self, slates: Iterable[Sequence[int]], acted: Sequence[int], segment: str) -> bytes:
        """Write a user's string; `slates` and `acted` are numbers of posts, `segment` is "" where none is known."""
        padded = b"".join(self._numbers([*slate, *[self.none] * (self.top_n - len(slate))]) for slate in slates)
        return padded + self.tail(self._numbers(acted), segment)

    def tail(self, acted: bytes, segment: str) -> bytes:
        """Write what follows the slates; `acted` are numbers, written already."""
        return b"".join((self._numbers([len(acted) // self.width]), acted, segment.encode()))

    def unpack(self, value: bytes, place: int, posts: Sequence[str]) -> Unpacked:
        """Read a user's string for the bucket at `place`, 0 being the first; `posts` is the generation's list.

        Raises CodecError when the string is none of this layout.
        """
        if not 0 <= place < self.hours:
            msg = f"bucket {place} is not one of the {self.hours} of its generation"
            raise CodecError(msg)
        slate_bytes, begin = self.top_n * self.width, self.slates_bytes
        try:
            (n_acted,) = self._read(value[begin : begin + self.width])
            begin += self.width
            end = begin + n_acted * self.width
            acted = self._ids(value[begin:end], n_acted, posts)
            slate = self._ids(value[place * slate_bytes : (place + 1) * slate_bytes], self.top_n, posts)
            return Unpacked(slate, acted, value[end:].decode() or None)
        except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
            raise self._not_packed(value, error) from error

    def slates(self, value: bytes, posts: Sequence[str]) -> list[list[str]]:
        """Read all slates of a user's string, in the order of the buckets; raise CodecError when it is none."""
        size = self.top_n * self.width
        parts = [value[begin : begin + size] for begin in range(0, self.slates_bytes, size)]
        try:
            return [self._ids(part, self.top_n, posts) for part in parts]
        except (ValueError, IndexError) as error:
            raise self._not_packed(value, error) from error

    def _not_packed(self, value: bytes, error: Exception) -> CodecError:
        return CodecError(
            f"{value[:20]!r}… of {len(value)} bytes is not {self.hours} × {self.top_n} packed posts ({error})"
        )

    def check(self, value: bytes) -> None:
        """Raise CodecError where `value` is no user's string, or counts beyond the list of posts."""
        acted_at = self.slates_bytes + self.width
        try:
            (n_acted,) = self._read(value[self.slates_bytes : acted_at])
            end = acted_at + n_acted * self.width
            numbers = {*self._read(value[: self.slates_bytes]), *self._read(value[acted_at:end])} - {self.none}
            value[end:].decode()
        except (struct.error, ValueError) as error:
            msg = f"{value[:20]!r}… of {len(value)} bytes is no user's string ({error})"
            raise CodecError(msg) from error
        if len(value) < end or max(numbers, default=-1) >= self.n_posts:
            msg = f"{value[:20]!r}… of {len(value)} bytes is cut short, or counts beyond {self.n_posts} posts"
            raise CodecError(msg)

    def _ids(self, numbers: bytes, count: int, posts: Sequence[str]) -> list[str]:
        if len(numbers) != count * self.width:
            msg = f"{len(numbers)} bytes for {count} posts"
            raise ValueError(msg)
        return [posts[number] for number in self._read(numbers) if number != self.none]

    def _numbers(self, numbers: Sequence[int]) -> bytes:
        return struct.pack(f"<{len(numbers)}{'H' if self.width == 2 else 'I'}", *numbers)

    def _read(self, numbers: bytes) -> tuple[int, ...]:
        return struct.unpack(f"<{len(numbers) // self.width}{'H' if self.width == 2 else 'I'}", numbers)
