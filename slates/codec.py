"""The codec `ids`: a slate is its post ids, best first, escaped and joined by single spaces."""

from collections.abc import Iterable

from slates.errors import CodecError
from slates.keys import escape_id, unescape_id

CODEC = "ids"
SEGMENT_FIELD = "segment"
"""The field of a user's hash that names the user's segment."""
ACTED_FIELD = "acted"
"""The field that holds, like a slate, which posts of the segment's and popular slates the user is not to be shown.

It is absent where there are none. All other fields of the hash are buckets.
"""


def encode_slate(post_ids: Iterable[str]) -> bytes:
    """Write a slate; `decode_slate` reads it back. Raises CodecError on an empty id."""
    words = [escape_id(post_id) for post_id in post_ids]
    if "" in words:
        msg = f"place {words.index('') + 1} of a slate holds an empty id; a post needs an id to be shown"
        raise CodecError(msg)
    return " ".join(words).encode("ascii")


def decode_slate(value: bytes) -> list[str]:
    """Read a slate; raise CodecError when `value` is not one."""
    try:
        text = value.decode("ascii")
        words = text.split(" ") if text else []
        post_ids = [unescape_id(word) for word in words] if "%" in text else words
    except UnicodeDecodeError as error:
        msg = f"{value[:60]!r} is not a slate; it should hold escaped post ids with spaces between"
        raise CodecError(msg) from error
    if "" in post_ids:
        msg = f"{value[:60]!r} is not a slate; it holds an empty id"
        raise CodecError(msg)
    return post_ids
