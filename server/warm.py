"""Popular posts on disk: what a server answers that starts while Redis is away.

One file in the server's state folder: SHA-256 of the rest, a line's end, and JSON. It holds what anybody gets, so no
user and no key. A user's segment stands in Redis alone, so segments' slates would be of no use here.
"""

import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from redis import Redis

from slates.bucket import bucket_field
from slates.codec import encode_slate
from slates.errors import CodecError
from slates.keys import Keys, escape_id, unescape_id
from slates.lookup import Lookup
from slates.manifest import Manifest
from slates.posts import read_posts
from slates.view import Kept, View, popular_ids, read_slates

GOOD_FOR_S = 72 * 3600
"""After so long Redis itself would have let the generation go."""
_FORMAT = 1
_MOST_BYTES = 32_000_000
_MOST_POSTS = 5_000
_WRITE_EVERY_S = 3600.0

Posts = Mapping[str, tuple[str, str]]
"""Id → text and topic."""

_log = logging.getLogger(__name__)


class Warm(NamedTuple):
    """What is in the file."""

    kept: Kept
    posts: Posts


class WarmFile:
    """The file; `origin` says which slates are meant, by Redis and prefix: those of another one are not read."""

    def __init__(self, path: Path, origin: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._origin = origin
        self._clock = clock
        self._lock: int | None = None

    def is_ours(self) -> bool:
        """Say whether this process writes the file: one of all that share it does, until it ends."""
        if self._lock is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
        return True

    def write(self, view: View, blocked: frozenset[str], posts: Posts) -> None:
        """Put the file in the place of the one before; posts that would make it too large are left out."""
        told = {
            "format": _FORMAT,
            "origin": self._origin,
            "seen_at": int(self._clock()),
            "manifest": view.manifest.to_hash(),
            "popular": {bucket_field(bucket): encode_slate(slate).decode() for bucket, slate in view.popular.items()},
            "blocked": sorted(map(escape_id, blocked)),
            "posts": _small(posts),
        }
        body = orjson.dumps(told)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=f".{self._path.name}.", delete=False) as file:
            try:
                file.write(_digest(body) + b"\n" + body)
                file.flush()
                Path(file.name).replace(self._path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def read(self) -> Warm | None:
        """Return what is there; None, with a line in the log, where that is damaged, foreign or too old."""
        try:
            with self._path.open("rb") as file:
                digest, _, body = file.read(2 * _MOST_BYTES).partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s is not read: %s", self._path, error)
            return None
        if digest != _digest(body):
            _log.warning("%s is damaged, and passed over", self._path)
            return None
        try:
            return self._understood(orjson.loads(body))
        except (CodecError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s is passed over: %s", self._path, error)
            return None

    def _understood(self, told: Any) -> Warm:
        """Return what the file says; raise ValueError, or what comes of reading something else, where it is no use."""
        if told["format"] != _FORMAT or told["origin"] != self._origin:
            raise ValueError(f"it is of {str(told['origin'])!r}, format {told['format']!r}")
        age_s = self._clock() - told["seen_at"]
        if age_s > GOOD_FOR_S:
            raise ValueError(f"it is {age_s / 3600:.0f} hours old")
        manifest = Manifest.from_hash(_encoded(told["manifest"]))
        view = View(manifest, read_slates(_encoded(told["popular"])), None)
        blocked = frozenset(map(unescape_id, told["blocked"]))
        posts = {unescape_id(name): (str(text), str(topic)) for name, (text, topic) in told["posts"].items()}
        return Warm(Kept(view, blocked), posts)


class WarmKeeper:
    """Keeps the file like what is served: called every few seconds, it writes when something has changed."""

    def __init__(self, file: WarmFile, redis: Redis, keys: Keys, lookup: Lookup) -> None:
        self._file = file
        self._redis = redis
        self._keys = keys
        self._lookup = lookup
        self._written: tuple[str, frozenset[str]] | None = None
        self._written_at = 0.0

    def keep(self, view: View) -> None:
        """See that the file holds the posts of a view that serves now; may raise what redis-py raises."""
        state = view.manifest.id, self._lookup.blocked()
        if state == self._written and time.monotonic() - self._written_at < _WRITE_EVERY_S:
            return
        try:
            if not view.popular or not self._file.is_ours():
                return
            posts = read_posts(self._redis, self._keys, popular_ids(view, _MOST_POSTS))
            self._file.write(view, state[1], posts)
        except OSError as error:
            _log.warning("popular posts are not kept on disk, for a start while Redis is away: %s", error)
        self._written, self._written_at = state, time.monotonic()  # after a failure too: not every two seconds


def origin_of(redis_url: str, prefix: str) -> str:
    """Name a Redis and a prefix, without user and password."""
    return f"{redis_url.partition('://')[2].partition('?')[0].rpartition('@')[2]} {prefix}"


def _small(posts: Posts) -> dict[str, tuple[str, str]]:
    """Return the first posts that have room."""
    left, kept = _MOST_BYTES, {}
    for post_id, (text, topic) in posts.items():
        left -= 4 * (len(text) + len(topic)) + len(post_id)
        if left < 0:
            break
        kept[escape_id(post_id)] = text, topic
    return kept


def _encoded(fields: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in fields.items()}


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
