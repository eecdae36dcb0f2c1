"""Encodes the slates of many users at once, by either codec."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batch.tables import Ints, Posts
from slates.codec import ACTED_FIELD, SEGMENT_FIELD
from slates.entry import Entry, hash_entry, string_entry
from slates.keys import escape_id
from slates.packed import Layout
from slates.resp import bulk

_MOST_DIGITS = 10


class UserEncoder(Protocol):
    """Makes the entries of users."""

    def bodies(self, posts: NDArray[np.int32]) -> Iterator[tuple[bytes, int, int]]:
        """Yield for each user the encoded slates, the bytes of their values, and those of the longest.

        posts : int32, (n_users, n_buckets, top_n), indices of posts, -1 for none.
        """

    def entry(self, key: str, body: tuple[bytes, int, int], acted: NDArray[np.integer], segment: str) -> Entry:
        """Put the entry of one user together; `acted` are indices of posts, `segment` is "" where none is known."""


class IdsEncoder:
    """Encodes by the codec `ids`; every post's id is escaped once."""

    def __init__(self, posts: Posts, fields: list[str], ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._words = [escape_id(str(post_id)).encode() for post_id in posts.ids]
        self._letters, self._word_begin = _joined(self._words)
        self._names, self._name_begin = _joined([bulk(field.encode()) for field in fields])
        self._n_fields = len(fields)

    def bodies(self, posts: NDArray[np.int32]) -> Iterator[tuple[bytes, int, int]]:
        """Yield as UserEncoder says; a body holds names and values of fields, each as `resp.bulk`."""
        if posts.shape[1] != self._n_fields:
            msg = f"{posts.shape[1]} slates of a user for {self._n_fields} buckets"
            raise ValueError(msg)
        lengths = slate_lengths(posts, self._word_begin)
        longest, sums = lengths.max(axis=1, initial=0), lengths.sum(axis=1)
        digits = np.char.str_len(lengths.astype(f"U{_MOST_DIGITS}")) if lengths.size else lengths
        begin = np.concatenate(([0], np.cumsum((lengths + digits + 5).sum(axis=1) + self._name_begin[-1])))
        body = np.empty(begin[-1], dtype=np.uint8)
        write_slates(posts, lengths, self._letters, self._word_begin, self._names, self._name_begin, begin, body)
        whole = body.data
        for user in range(len(posts)):
            yield bytes(whole[begin[user] : begin[user + 1]]), int(sums[user]), int(longest[user])

    def entry(self, key: str, body: tuple[bytes, int, int], acted: NDArray[np.integer], segment: str) -> Entry:
        """Make the user's hash."""
        fields, value_bytes, longest = body
        n_fields = self._n_fields
        for name, value in (SEGMENT_FIELD, segment.encode()), (ACTED_FIELD, self.slate(acted)):
            if value:
                fields += bulk(name.encode()) + bulk(value)
                n_fields += 1
                value_bytes += len(value)
        return hash_entry(key, fields, n_fields, self._ttl_s, value_bytes=value_bytes, longest=longest)

    def slate(self, posts: NDArray[np.integer]) -> bytes:
        """Encode one slate, of indices of posts."""
        return b" ".join([self._words[post] for post in posts.tolist()])


class PackedEncoder:
    """Encodes by the codec `packed`. pool : indices of the posts in the generation's list, in its order."""

    def __init__(self, layout: Layout, pool: Ints, n_posts: int, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._layout = layout
        self._number = np.full(n_posts + 1, layout.none, dtype=f"<u{layout.width}")  # the index -1 reads the last
        self._number[pool] = np.arange(len(pool))

    def bodies(self, posts: NDArray[np.int32]) -> Iterator[tuple[bytes, int, int]]:
        """Yield as UserEncoder says."""
        if posts.shape[1:] != (self._layout.hours, self._layout.top_n):
            msg = f"slates of shape {posts.shape[1:]} for {self._layout.hours} buckets × {self._layout.top_n} posts"
            raise ValueError(msg)
        for of_user in self._number[posts]:
            yield of_user.tobytes(), self._layout.slates_bytes, 0

    def entry(self, key: str, body: tuple[bytes, int, int], acted: NDArray[np.integer], segment: str) -> Entry:
        """Make the user's string."""
        value = body[0] + self._layout.tail(self._number[acted].tobytes(), segment)
        values = self._layout.hours + bool(segment) + bool(len(acted))
        return string_entry(key, value, self._ttl_s, values=values)


def _joined(words: list[bytes]) -> tuple[NDArray[np.uint8], Ints]:
    """Return all words in a row, and where each begins; one entry more for the end."""
    begin = np.concatenate(([0], np.cumsum([len(word) for word in words], dtype=np.int64)))
    return np.frombuffer(b"".join(words), dtype=np.uint8), begin


@njit(cache=True, nogil=True)
def slate_lengths(posts: NDArray[np.int32], word_begin: Ints) -> Ints:
    """Return the bytes of each slate. posts as in UserEncoder; int64, (n_users, n_buckets)."""
    lengths = np.zeros(posts.shape[:2], dtype=np.int64)
    for user in range(posts.shape[0]):
        for bucket in range(posts.shape[1]):
            length = 0
            for post in posts[user, bucket]:
                if post >= 0:
                    length += word_begin[post + 1] - word_begin[post] + 1
            lengths[user, bucket] = max(length - 1, 0)
    return lengths


@njit(cache=True, nogil=True)
def write_slates(
    posts: NDArray[np.int32],
    lengths: Ints,
    letters: NDArray[np.uint8],
    word_begin: Ints,
    names: NDArray[np.uint8],
    name_begin: Ints,
    begin: Ints,
    body: NDArray[np.uint8],
) -> None:
    """Write for each user and bucket the name of the field and the slate's `$length` and words into `body`.

    names, name_begin : the buckets' names as `resp.bulk`. begin : where each user's part begins.
    """
    digits = np.empty(_MOST_DIGITS, dtype=np.uint8)
    for user in range(posts.shape[0]):
        at = begin[user]
        for bucket in range(posts.shape[1]):
            at = _copy(names, name_begin[bucket], name_begin[bucket + 1], body, at)
            body[at] = 36  # $
            at += 1
            left, n_digits = lengths[user, bucket], 0
            while left > 0 or n_digits == 0:
                digits[n_digits] = 48 + left % 10
                left //= 10
                n_digits += 1
            for digit in range(n_digits - 1, -1, -1):
                body[at] = digits[digit]
                at += 1
            body[at], body[at + 1] = 13, 10
            at += 2
            is_first = True
            for post in posts[user, bucket]:
                if post >= 0:
                    if not is_first:
                        body[at] = 32
                        at += 1
                    is_first = False
                    at = _copy(letters, word_begin[post], word_begin[post + 1], body, at)
            body[at], body[at + 1] = 13, 10
            at += 2


@njit(cache=True, nogil=True, inline="always")
def _copy(source: NDArray[Any], begin: int, end: int, target: NDArray[Any], at: int) -> int:
    for place in range(begin, end):
        target[at] = source[place]
        at += 1
    return at
