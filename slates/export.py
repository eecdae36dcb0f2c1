"""Exports a generation: reads what lies in Redis, and writes it to one file (see slates.archive)."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, cast

from redis import Redis
from redis.exceptions import NoPermissionError

from slates import packed
from slates.archive import Checks, Kind, Summary, manifest_record
from slates.batches import batches
from slates.blocked import read_blocked
from slates.cluster import nodes
from slates.codec import SEGMENT_FIELD
from slates.errors import NoGenerationError, SlatesError
from slates.generations import live_generation, read_manifest
from slates.keys import Keys, escape_id
from slates.manifest import Manifest
from slates.records import Record, RecordWriter
from slates.resp import command
from slates.wire import send

_AT_ONCE = 500
_SCANNED = 1_000
_SPECIAL = re.compile(r"([][*?\\^])")


class Report(Protocol):
    """Hears how an export or an import goes on."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Hear that `done` of `total` (None: not known) steps of a stage are done."""


def export_generation(
    redis: Redis, keys: Keys, path: Path, report: Report, generation: str | None = None, *, with_blocked: bool = False
) -> Summary:
    """Write a generation, the live one by default, to `path`, which is there when it is whole; return what it holds.

    Raises NoGenerationError where there is none, or it went away meanwhile, ArchiveError where what lies in Redis
    could not be read back.
    """
    manifest = _manifest(redis, keys, generation)
    with _whole_file(path) as file:
        checks, writer = Checks(), RecordWriter(file)
        for record in _Records(redis, keys, manifest).all(report, with_blocked=with_blocked):
            checks.take(record)  # what goes out can come in again
            writer.write(record)
        summary = checks.finish(writer.close())
        if read_manifest(redis, keys, manifest.id) is None:
            msg = f"generation {manifest.id} went away while it was exported; `hourfeed status` lists those that are"
            raise NoGenerationError(msg)
    return summary


def _manifest(redis: Redis, keys: Keys, generation: str | None) -> Manifest:
    found = read_manifest(redis, keys, generation) if generation else live_generation(redis, keys)
    if found is None or found.state == "writing":
        which = f"generation {generation} is not there whole" if generation else "no generation is live"
        raise NoGenerationError(f"{which}; `hourfeed status` lists those that are there")
    return found


@dataclass
class _Names:
    """Names in the keys of a generation, as escaped there."""

    segments: set[bytes] = field(default_factory=set)
    similar: set[bytes] = field(default_factory=set)
    users: set[bytes] = field(default_factory=set)


def _names_of(redis: Redis, keys: Keys, generation: str) -> _Names:
    """Find the names in a generation's keys by SCAN, in bounded steps: nothing in Redis lists its users."""
    names = _Names()
    kinds = {
        keys.segment(generation, "").encode(): names.segments,
        keys.similar(generation, "").encode(): names.similar,
        keys.user(generation, "").encode(): names.users,
    }
    pattern = _SPECIAL.sub(r"\\\1", keys.user(generation, "").removesuffix("user:")) + "*"
    try:
        for node in nodes(redis):
            for key in cast("Iterator[bytes]", node.scan_iter(match=pattern, count=_SCANNED)):
                for begin, found in kinds.items():
                    if key.startswith(begin):
                        found.add(key[len(begin) :])
    except NoPermissionError as error:
        msg = "an export lists keys, and Redis does not let this user do so; allow it +scan, or name another user"
        raise SlatesError(msg) from error
    return names


class _Records:
    """The records of a generation's file, read in the order in which they stand there."""

    def __init__(self, redis: Redis, keys: Keys, manifest: Manifest) -> None:
        self._redis = redis
        self._keys = keys
        self._manifest = manifest
        self._strings = {"posts", "similar"} | ({"user"} if manifest.codec == packed.CODEC else set())
        self._shown: set[bytes] = set()

    def all(self, report: Report, *, with_blocked: bool) -> Iterator[Record]:
        """Yield them; the posts' texts are those of the posts that the records before them name."""
        keys, generation = self._keys, self._manifest.id
        names = _names_of(self._redis, keys, generation)
        yield manifest_record(self._manifest)
        yield from self._of("popular", keys.popular(generation))
        yield from self._of("segment", keys.segment(generation, ""), names.segments)
        if self._manifest.codec == packed.CODEC:
            yield from self._of("posts", keys.posts(generation))
        yield from self._of("similar", keys.similar(generation, ""), names.similar)
        total = len(names.users)
        for done, record in enumerate(self._of("user", keys.user(generation, ""), names.users), start=1):
            yield record
            if done % _AT_ONCE == 0 or done == total:
                report.stage("export", done, total)
        yield from self._of("post", keys.post(""), self._shown)
        if with_blocked:
            for name in sorted(escape_id(post_id).encode() for post_id in read_blocked(self._redis, keys)):
                yield [b"blocked", name]

    def _of(self, kind: Kind, prefix: str, names: Iterable[bytes] = (b"",)) -> Iterator[Record]:
        """Yield the records of one kind, by name; keys that are gone meanwhile are passed over."""
        asked = b"GET" if kind in self._strings else b"HGETALL"
        for chunk in batches(sorted(names), _AT_ONCE):
            found = [prefix.encode() + name for name in chunk]
            replies = send(self._redis, [(key.decode(), command(asked, key), 1) for key in found])
            for name, reply in zip(chunk, replies, strict=True):
                if reply is not None and reply != []:  # a string may be empty
                    parts = _in_order(reply) if asked == b"HGETALL" else [reply]
                    self._note(kind, name, parts)
                    yield [kind.encode(), *([name] if name else []), *parts]

    def _note(self, kind: Kind, name: bytes, parts: list[bytes]) -> None:
        """Note which posts a record names."""
        if kind == "similar":
            self._shown.add(name)
        if kind == "post" or (kind == "user" and kind in self._strings):
            return
        values = parts if kind in self._strings else [v for n, v in _pairs(parts) if n != SEGMENT_FIELD.encode()]
        for value in values:
            self._shown.update(value.split())


def _in_order(fields: list[bytes]) -> list[bytes]:
    """Sort the fields of a hash by name: Redis keeps large ones in no order."""
    return [part for pair in sorted(_pairs(fields)) for part in pair]


def _pairs(fields: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(fields[::2], fields[1::2], strict=True)


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, for its owner alone, that takes its name at the end of the block, and goes where that fails."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
