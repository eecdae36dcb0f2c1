"""Forecasts the bytes that a generation takes in Redis, before one is written.

Sums up what Redis and Valkey keep for a key (`dict.c`, `listpack.c`, `sds.c`; `hashtable.c` and `object.c` of Valkey),
each piece rounded up as the allocator does. Tests hold it within 15 % of `used_memory` on a real server.
"""

import math
from dataclasses import dataclass

from slates.packed import CODEC as PACKED
from slates.packed import Layout

_POINTER = 8
_DICT_ENTRY = 24
_OBJECT = 16
_TTL = 8
_BUCKET_SHARE = 64 / 7 / 0.75  # of a bucket of 64 bytes for seven keys, three quarters full
_TABLE = 1.5 * _POINTER  # tables are powers of two, so between half and wholly full
_LISTPACK_ENDS = 7
_SIMILAR_LONGER = len("similar") - len("user")  # of the keys
_FIELD_ENTRY = 6  # a bucket's field: a whole number of 32 bits and its length


@dataclass(frozen=True)
class Sizes:
    """What the forecast goes by. Ids and names are means in bytes, as escaped; `acted_posts` is the mean of all users.

    `key_bytes` is the length of a user's key without the user's id, `shared_posts` that of a segment's slate, `similar`
    how many similar posts are kept of each post.
    """

    users: int
    hours: int
    top_n: int
    codec: str
    post_id_bytes: float
    user_id_bytes: float
    posts: int
    segments: int = 0
    segment_bytes: float = 0.0
    acted_posts: float = 0.0
    shared_posts: int = 100
    key_bytes: int = 37
    similar: int = 0


@dataclass(frozen=True)
class Store:
    """What differs between servers: INFO's mem_allocator, hash-max-listpack-value in bytes, how keys are kept.

    `compact_keys` is for Valkey from 8.1 on, which keeps a key's name, its TTL and its object in one piece.
    """

    allocator: str = "jemalloc"
    listpack_bytes: int = 1024
    compact_keys: bool = False

    def rounded(self, size: float) -> float:
        """Return the bytes that the allocator gives for a piece."""
        whole = math.ceil(size)
        if self.allocator.startswith("libc"):
            return max(24, (whole + 8 + 15) // 16 * 16 - 8)
        if whole <= 128:
            return max(16, math.ceil(whole / 16) * 16)
        step = 1 << (whole - 1).bit_length() - 3  # four classes for each power of two
        return math.ceil(whole / step) * step

    def spread(self, size: float) -> float:
        """Round sizes that differ a little from user to user: the mean over 3 % to both sides."""
        return sum(self.rounded(size * (0.97 + 0.01 * step)) for step in range(7)) / 7

    def key(self, length: float) -> float:
        """Return the bytes of a key with a TTL, without its value."""
        if self.compact_keys:
            return self.rounded(_OBJECT + _TTL + 1 + _string(length)) + 2 * _BUCKET_SHARE
        entries = 2 * (self.rounded(_DICT_ENTRY) + _TABLE)  # one of the keys, one of the expiries
        return entries + self.rounded(_string(length)) + self.rounded(_OBJECT)


def generation_bytes(sizes: Sizes, store: Store) -> int:
    """Return the bytes of all keys of a generation."""
    key = sizes.key_bytes + sizes.user_id_bytes
    if sizes.codec == PACKED:
        layout = Layout(sizes.hours, sizes.top_n, sizes.posts)
        value = layout.slates_bytes + layout.width * (1 + sizes.acted_posts) + sizes.segment_bytes
        of_user = store.key(key) + store.spread(_string(value))
        beside = store.key(key) + store.rounded(_string(sizes.posts * (sizes.post_id_bytes + 1)))
    else:
        extra = {"segment": sizes.segment_bytes, "acted": _slate(sizes.acted_posts, sizes)}
        of_user = store.key(key) + _hash(sizes, sizes.top_n, extra, store)
        beside = 0.0
    of_segment = store.key(key + sizes.segment_bytes) + _hash(sizes, sizes.shared_posts, {}, store)
    if sizes.similar:
        value = _slate(min(sizes.similar, sizes.posts - 1), sizes)
        of_post = store.key(sizes.key_bytes + _SIMILAR_LONGER + sizes.post_id_bytes) + store.spread(_string(value))
        beside += sizes.posts * of_post
    return round(sizes.users * of_user + (sizes.segments + 1) * of_segment + beside)


def posts_bytes(posts: int, text_bytes: float, post_id_bytes: float, store: Store) -> int:
    """Return the bytes of the posts' hashes, which generations share; `text_bytes` is the mean of text and topic."""
    if text_bytes <= store.listpack_bytes:
        fields = store.spread(_LISTPACK_ENDS + 2 * _entry(5) + 2 * _entry(text_bytes / 2))
        return round(posts * (store.key(14 + post_id_bytes) + fields))
    fields = 2 * (store.rounded(_DICT_ENTRY) + store.rounded(_string(5)) + _TABLE) + store.rounded(_string(text_bytes))
    return round(posts * (store.key(14 + post_id_bytes) + 80 + fields))


def _slate(n_posts: float, sizes: Sizes) -> float:
    return max(n_posts * (sizes.post_id_bytes + 1) - 1, 0)


def _hash(sizes: Sizes, n_posts: int, extra: dict[str, float], store: Store) -> float:
    slate = _slate(min(n_posts, sizes.posts), sizes)
    beside = {name: value for name, value in extra.items() if value}
    if slate > store.listpack_bytes:  # a table of fields, each an entry, a name and a value
        fields = sizes.hours * _field(10, slate, store)
        return store.rounded(80) + fields + sum(_field(len(name), value, store) for name, value in beside.items())
    listed = sizes.hours * (_FIELD_ENTRY + _entry(slate))
    listed += sum(_entry(len(name)) + _entry(value) for name, value in beside.items())
    return store.spread(_LISTPACK_ENDS + listed)


def _field(name: float, value: float, store: Store) -> float:
    return store.rounded(_DICT_ENTRY) + _TABLE + store.rounded(_string(name)) + store.rounded(_string(value))


def _entry(length: float) -> float:
    """Return the bytes of a string in a listpack: its header, itself, and its length once more for the way back."""
    header = 1 if length < 64 else 2 if length < 4096 else 5
    return header + length + (1 if header + length < 128 else 2)


def _string(length: float) -> float:
    return length + (1 if length < 32 else 3 if length < 256 else 5 if length < 65_536 else 9) + 1
