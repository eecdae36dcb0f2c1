"""Imports an exported generation: reads the whole file first, then writes it as a run does, and flips last."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from redis import Redis

from slates.archive import KINDS, Item, Kind, Summary, read_archive, summarise
from slates.batches import batches
from slates.blocked import block
from slates.entry import Entry, Row, expiry_s, string_entry
from slates.erase import erased_users, settle_erased
from slates.errors import ArchiveError, CodecError
from slates.forecast import Sizes, generation_bytes, posts_bytes
from slates.generations import GenerationWriter, listpack_warning, live_generation, new_generation_id, retire
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest, State
from slates.records import MOST_BYTES
from slates.resp import command
from slates.room import read_store, refuse_without_room
from slates.wire import send

_AT_ONCE = 2_000
_NO_SUCH_KEY = -2  # as TTL answers


class Report(Protocol):
    """Hears how an import goes on."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Hear that `done` of `total` (None: not known) steps of a stage are done."""

    def note(self, text: str) -> None:
        """Hear what the operator should know."""


@dataclass(frozen=True)
class Archive:
    """A file that was read whole, and found right."""

    path: Path
    summary: Summary
    most_bytes: int = MOST_BYTES

    @classmethod
    def check(cls, path: Path, most_bytes: int = MOST_BYTES) -> "Archive":
        """Read the file; raise ArchiveError where it is not whole and right, or unpacks to more than `most_bytes`."""
        with path.open("rb") as file:
            return cls(path, summarise(file, most_bytes), most_bytes)

    def items(self) -> Iterator[Item]:
        """Yield what it holds; raise ArchiveError at the end where it is not the file any more that was checked."""
        with self.path.open("rb") as file:
            found = yield from read_archive(file, self.most_bytes)
        if found.digest != self.summary.digest:
            msg = f"{self.path} has changed while it was read"
            raise ArchiveError(msg)

    def names(self, kind: Kind) -> Iterator[str]:
        """Yield the ids or names of one kind, reading no further than they go."""
        for item in self.items():
            if item.kind == kind:
                yield item.name
            elif KINDS.index(item.kind) > KINDS.index(kind):
                return


@dataclass(frozen=True)
class Target:
    """How a generation is written: its TTL, how many generations stay, keys in one round trip."""

    redis: Redis
    keys: Keys
    ttl_s: float
    keep: int
    at_once: int = 500


def import_generation(target: Target, archive: Archive, report: Report, *, live: bool = True) -> Manifest:
    """Write the generation of a file under a new id, and make it live unless told not to; return its manifest.

    It takes the lock and a number as a run does, so no older run can publish over it. Raises SlatesError as a run
    does, with the live generation untouched.
    """
    redis, keys = target.redis, target.keys
    with RunLock(redis, keys) as lock:
        _retire(target, archive, lock.seq)  # what died half-written takes no room from what comes
        _refuse_without_room(target, archive.summary)
        exported = archive.summary.manifest
        manifest = replace(
            exported,
            id=new_generation_id(exported.as_of, lock.seq),
            seq=lock.seq,
            state="writing",
            started_at=datetime.now(UTC).replace(microsecond=0),
            built_at=None,
            previous="",
            input_digest="",  # or a run with the same input would go on from what a killed import has left
            resumed=0,
        )
        writer = GenerationWriter(redis, keys, lock, manifest, ttl_s=target.ttl_s, batch=target.at_once)
        writer.begin()
        writer.verify(_write(target, archive, writer, report, live=live))
        warning = listpack_warning(redis, writer.written.longest)
        if warning:
            report.note(warning)
        state: State = "complete" if live else "candidate"
        manifest = replace(
            manifest, state=state, built_at=datetime.now(UTC).replace(microsecond=0), shards=len(writer.shards)
        )
        if live:
            manifest = writer.flip(manifest)
        else:
            writer.hold(manifest)
        settle_erased(redis, keys, (), ())
        _retire(target, archive, None)
    return manifest


def _write(target: Target, archive: Archive, writer: GenerationWriter, report: Report, *, live: bool) -> int:
    """Write all that the file holds but users who were erased since; return how many values must be there then."""
    redis, keys, generation = target.redis, target.keys, writer.manifest.id
    erased = set(erased_users(redis, keys))
    # Generations share posts, so what is served keeps its own until something newer goes live.
    keep_posts = not live or _is_older_than_live(redis, keys, writer.manifest)
    total, values, users = archive.summary.counts["user"], 0, 0
    for kind, group in itertools.groupby(archive.items(), lambda item: item.kind):
        for items in batches(group, _AT_ONCE):
            if kind == "user":
                entries = [
                    _of_user(keys.user(generation, item.name), item, target.ttl_s)
                    for item in items
                    if item.name not in erased
                ]
                writer.write_shard(len(writer.shards), entries)
                values += sum(max(1, len(item.fields)) for item in items if item.name not in erased)
                users += len(items)
                report.stage("import", users, total)
            elif kind == "post":
                rows = [_row(keys.post(item.name), item) for item in items]
                writer.write_posts(_missing_after_renewal(redis, rows, target.ttl_s) if keep_posts else rows)
            elif kind == "blocked":
                block(redis, keys, [item.name for item in items])
            elif kind in _KEYS:
                named = [(_KEYS[kind](keys, generation, item.name), item) for item in items]
                writer.write_shared([_row(key, item) for key, item in named if item.fields])
                writer.write_strings([(key, item.value) for key, item in named if not item.fields])
                values += sum(max(1, len(item.fields)) for item in items)
    return values


_KEYS: Mapping[Kind, Callable[[Keys, str, str], str]] = {
    "popular": lambda keys, generation, _name: keys.popular(generation),
    "segment": lambda keys, generation, name: keys.segment(generation, name),
    "posts": lambda keys, generation, _name: keys.posts(generation),
    "similar": lambda keys, generation, name: keys.similar(generation, name),
}
"""What belongs to a generation and to no user."""


def _of_user(key: str, item: Item, ttl_s: float) -> Entry | Row:
    return _row(key, item) if item.fields else string_entry(key, item.value, ttl_s)


def _row(key: str, item: Item) -> Row:
    return key, {name.decode(): value for name, value in item.fields.items()}


def _is_older_than_live(redis: Redis, keys: Keys, manifest: Manifest) -> bool:
    try:
        live = live_generation(redis, keys)
    except CodecError:
        return False
    return live is not None and live.as_of > manifest.as_of


def _missing_after_renewal(redis: Redis, rows: Sequence[Row], ttl_s: float) -> list[Row]:
    """Let posts that are there live on as long as those of the file, with their newer texts; return the others."""
    left = send(redis, [(key, command(b"TTL", key.encode()), 1) for key, _ in rows])
    expiring = [key for (key, _), left_s in zip(rows, left, strict=True) if 0 <= left_s < expiry_s(key, ttl_s)]
    send(redis, [(key, command(b"EXPIRE", key.encode(), b"%d" % expiry_s(key, ttl_s)), 1) for key in expiring])
    return [row for row, left_s in zip(rows, left, strict=True) if left_s == _NO_SUCH_KEY]


def _refuse_without_room(target: Target, summary: Summary) -> None:
    """Raise NoRoomError where Redis lacks the room, by the forecast that runs go by."""
    manifest, counts, store = summary.manifest, summary.counts, read_store(target.redis)
    post_id_bytes = summary.mean("post", summary.name_bytes)
    sizes = Sizes(
        users=counts["user"],
        hours=manifest.hours,
        top_n=manifest.top_n,
        codec=manifest.codec,
        post_id_bytes=post_id_bytes,
        user_id_bytes=summary.mean("user", summary.name_bytes),
        posts=manifest.posts,
        segments=counts["segment"],
        segment_bytes=summary.mean("segment", summary.name_bytes),
        key_bytes=len(target.keys.user(manifest.id, "")),
        similar=round(summary.mean("similar", summary.value_bytes) / (post_id_bytes + 1)),
    )
    of_posts = posts_bytes(counts["post"], summary.mean("post", summary.value_bytes), post_id_bytes, store)
    of_generation = generation_bytes(sizes, store)
    refuse_without_room(target.redis, target.keys, of_generation=of_generation, of_posts=of_posts, keep=target.keep)


def _retire(target: Target, archive: Archive, run: int | None) -> None:
    """Unlink generations beyond those to keep, by the names in the file; what these miss ends by its TTL."""
    retire(
        target.redis,
        target.keys,
        keep=target.keep,
        user_ids=archive.names("user"),
        segments=archive.names("segment"),
        post_ids=archive.names("similar"),
        batch=target.at_once,
        run=run,
    )
