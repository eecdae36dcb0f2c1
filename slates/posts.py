"""The shelf: posts as one process shows them, rendered once and kept."""

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from redis import Redis

from slates.circuit import REDIS_AWAY
from slates.feed import WITHOUT_REDIS, Feed
from slates.keys import Keys
from slates.manifest import Manifest
from slates.view import View, popular_ids

T = TypeVar("T")

_BATCH = 500
_SPARES = 50
_STOCK = 5_000

_log = logging.getLogger(__name__)


class PostShelf(Generic[T]):
    """Keeps up to `most` rendered posts, and begins anew with every generation.

    `render` makes what is kept from a generation's manifest and a post's id, text and topic. A post that Redis does
    not hold is remembered as missing until the next generation.
    """

    def __init__(
        self, redis: Redis, keys: Keys, render: Callable[[Manifest, str, str, str], T], most: int = 50_000
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._render = render
        self._most = most
        self._manifest: Manifest | None = None
        self._stock: dict[str, T | None] = {}
        self._posts: dict[str, T | None] = {}

    def restock(self, view: View) -> None:
        """Begin anew for a generation, with the posts that a feed from memory needs; may raise what redis-py raises."""
        stock = self._fetch(view.manifest, popular_ids(view, min(_STOCK, self._most)))
        self._manifest, self._stock, self._posts = view.manifest, stock, dict(stock)

    def stock(self, manifest: Manifest, posts: Mapping[str, tuple[str, str]]) -> None:
        """Begin anew for a generation with posts, by id text and topic, that are known without Redis."""
        stock: dict[str, T | None] = {i: self._render(manifest, i, *post) for i, post in posts.items()}
        self._manifest, self._stock, self._posts = manifest, stock, dict(stock)

    def take(self, feed: Feed, limit: int) -> dict[str, T]:
        """Return a feed's posts by id, in order, up to `limit`; its next ones stand in for posts that are gone.

        While Redis is away, posts that are not on the shelf count as gone.
        """
        posts = self.pick(feed.post_ids, may_fetch=feed.rung not in WITHOUT_REDIS)
        while len(posts) < limit:
            more = list(itertools.islice(feed.rest, max(limit, _SPARES)))
            if not more:
                break
            posts |= self.pick(more, may_fetch=feed.rung not in WITHOUT_REDIS)
        return posts if len(posts) <= limit else dict(itertools.islice(posts.items(), limit))

    def pick(self, post_ids: list[str], *, may_fetch: bool = True) -> dict[str, T]:
        """Return posts by id, in order, without those that are gone; `may_fetch` off: only what is on the shelf."""
        shelf = self._posts
        missing = [post_id for post_id in post_ids if post_id not in shelf] if may_fetch else []
        if missing:
            shelf = {**{i: shelf.get(i) for i in post_ids}, **self._add(missing)}
        return {post_id: post for post_id in post_ids if (post := shelf.get(post_id)) is not None}

    def _add(self, post_ids: list[str]) -> dict[str, T | None]:
        if self._manifest is None:
            return {}
        try:
            found = self._fetch(self._manifest, post_ids)
        except REDIS_AWAY as error:
            _log.warning("Redis is away, so that %d posts are left out: %s", len(post_ids), error)
            return {}
        if len(self._posts) + len(found) > self._most:
            self._posts = dict(self._stock)
        self._posts.update(found)
        return found

    def _fetch(self, manifest: Manifest, post_ids: Iterable[str]) -> dict[str, T | None]:
        wanted = list(post_ids)
        found = read_posts(self._redis, self._keys, wanted)
        return {i: self._render(manifest, i, *found[i]) if i in found else None for i in wanted}


def read_posts(redis: Redis, keys: Keys, post_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return text and topic of the posts that Redis holds, by id, in the order asked; one round trip for 500."""
    found: dict[str, tuple[str, str]] = {}
    remaining = iter(post_ids)
    while batch := list(itertools.islice(remaining, _BATCH)):
        with redis.pipeline(transaction=False) as pipeline:
            for post_id in batch:
                pipeline.hmget(keys.post(post_id), "text", "topic")
            for post_id, (text, topic) in zip(batch, pipeline.execute(), strict=True):
                if text is not None or topic is not None:
                    found[post_id] = _read(text), _read(topic)
    return found


def _read(value: bytes | None) -> str:
    return value.decode("utf-8", "replace") if value else ""
