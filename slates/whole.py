"""Reads users whole: all slates that a generation holds of them, by either codec."""

from collections.abc import Sequence
from typing import cast

from redis import Redis
from redis.exceptions import ResponseError

from slates import packed
from slates.bucket import bucket_field
from slates.codec import decode_slate
from slates.errors import CodecError
from slates.keys import Keys
from slates.manifest import Manifest
from slates.resp import command
from slates.wire import send

AllSlates = dict[int, list[str]]
"""Bucket → post ids, best first."""


def read_list_of_posts(redis: Redis, keys: Keys, manifest: Manifest) -> Sequence[str]:
    """Return what a packed generation's numbers count in; () where its slates hold ids. May raise CodecError."""
    if manifest.codec != packed.CODEC:
        return ()
    posts = decode_slate(cast("bytes | None", redis.get(keys.posts(manifest.id))) or b"")
    if len(posts) != manifest.posts:
        msg = f"{keys.posts(manifest.id)} lists {len(posts)} posts, not {manifest.posts}; does Redis evict?"
        raise CodecError(msg)
    return posts


def read_users(
    redis: Redis, keys: Keys, manifest: Manifest, posts: Sequence[str], user_ids: Sequence[str]
) -> list[AllSlates | None]:
    """Return each user's slates in one round trip, None for a user whom the generation does not know.

    posts : as `read_list_of_posts` returns it. Raises CodecError where something else lies there.
    """
    if not user_ids:
        return []
    is_packed = manifest.codec == packed.CODEC
    verb = b"GET" if is_packed else b"HGETALL"
    names = [keys.user(manifest.id, user_id) for user_id in user_ids]
    try:
        replies = send(redis, [(name, command(verb, name.encode()), 1) for name in names])
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        msg = f"a user of generation {manifest.id} has no slates by the codec {manifest.codec}, but something else"
        raise CodecError(msg) from error
    buckets = range(manifest.first_bucket, manifest.last_bucket + 1)
    if is_packed:
        layout = packed.Layout.of(manifest)
        return [
            None if not value else dict(zip(buckets, layout.slates(value, posts), strict=True)) for value in replies
        ]
    fields = {bucket_field(bucket).encode(): bucket for bucket in buckets}
    return [_of_hash(reply, fields) if reply else None for reply in replies]


def _of_hash(reply: list[bytes], fields: dict[bytes, int]) -> AllSlates:
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return {fields[name]: decode_slate(value) for name, value in pairs if name in fields}
