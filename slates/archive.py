"""An exported generation: what the records of its file mean, and what they must be like to be let in.

In this order: manifest, popular, segments, list of posts (codec `packed`), similar posts, users, posts, posts that are
taken down (on demand). Values are those that lie in Redis, byte for byte; names are ids as escaped, in ascending order.
"""

import re
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Literal, cast

from slates import packed
from slates.bucket import bucket_field
from slates.codec import ACTED_FIELD, SEGMENT_FIELD, decode_slate
from slates.errors import ArchiveError, CodecError
from slates.foreign import read_manifest
from slates.keys import PLAIN, escape_id, unescape_id
from slates.manifest import Manifest
from slates.records import MOST_BYTES, Record, RecordReader

Kind = Literal["manifest", "popular", "segment", "posts", "similar", "user", "post", "blocked"]
KINDS: tuple[Kind, ...] = ("manifest", "popular", "segment", "posts", "similar", "user", "post", "blocked")
"""In the order of the file."""

_NAMED = {"segment", "similar", "user", "post", "blocked"}
_STRINGS = {"posts", "similar"}
_SLATE = re.compile(rb"(?:[%%\w%b]+(?: [%%\w%b]+)*)?" % ((re.escape(PLAIN.encode()),) * 2), re.ASCII)
_BESIDE = {SEGMENT_FIELD.encode(), ACTED_FIELD.encode()}


@dataclass(frozen=True, slots=True)
class Item:
    """One record: its kind, the id or name that it is of ("" where there is one of a kind), and a hash or a string."""

    kind: Kind
    name: str
    fields: Mapping[bytes, bytes] = field(default_factory=dict)
    value: bytes = b""

    @property
    def value_bytes(self) -> int:
        """Return the bytes of all values."""
        return len(self.value) + sum(map(len, self.fields.values()))


@dataclass
class Summary:
    """What an archive holds. By kind: counts of records, bytes of names as escaped, and of values."""

    manifest: Manifest
    digest: str = ""
    counts: Counter[Kind] = field(default_factory=Counter)
    name_bytes: Counter[Kind] = field(default_factory=Counter)
    value_bytes: Counter[Kind] = field(default_factory=Counter)

    def mean(self, kind: Kind, of: Counter[Kind]) -> float:
        """Return the mean of one of the counters, 0 where there is no such record."""
        return of[kind] / max(1, self.counts[kind])


class Checks:
    """Takes the records of one archive in their order, and raises ArchiveError at the first that cannot be right."""

    def __init__(self) -> None:
        self._summary: Summary | None = None
        self._latest: tuple[int, bytes] = (-1, b"")
        self._buckets: frozenset[bytes] = frozenset()

    def take(self, record: Record) -> Item:
        """Check a record, and return what it says."""
        kind = _kind_of(record)
        name = record[1] if kind in _NAMED and len(record) > 1 else b""
        place = KINDS.index(kind), name
        if place <= self._latest:
            msg = f"a record is not where it should be: {kind} {_shown(name)}"
            raise ArchiveError(msg)
        self._latest = place
        if kind == "manifest":
            return self._begin(record)
        if self._summary is None:
            raise ArchiveError("the manifest does not come first")
        item = self._item(kind, name, record[1 + (kind in _NAMED) :])
        summary = self._summary
        summary.counts[kind] += 1
        summary.name_bytes[kind] += len(name)
        summary.value_bytes[kind] += item.value_bytes
        return item

    def finish(self, digest: str) -> Summary:
        """Return what was there; raise ArchiveError where something lacks, or is more than the manifest says."""
        summary = self._summary
        if summary is None:
            raise ArchiveError("the file holds no manifest")
        manifest, counts = summary.manifest, summary.counts
        if not counts["popular"]:
            raise ArchiveError("the file holds no popular slates")
        if counts["posts"] != (manifest.codec == packed.CODEC):
            raise ArchiveError(f"a list of posts is there, or lacks, for the codec {manifest.codec}")
        for kind, most in (("user", manifest.users), ("segment", manifest.segments), ("similar", manifest.posts)):
            if counts[cast("Kind", kind)] > most:
                msg = f"the file holds {counts[cast('Kind', kind)]} of {kind}, and its manifest says {most}"
                raise ArchiveError(msg)
        summary.digest = digest
        return summary

    def _begin(self, record: Record) -> Item:
        fields = _fields(record[1:], "the manifest")
        manifest = read_manifest(fields)
        self._summary = Summary(manifest)
        buckets = range(manifest.first_bucket, manifest.last_bucket + 1)
        self._buckets = frozenset(bucket_field(bucket).encode() for bucket in buckets)
        return Item("manifest", "", fields)

    def _item(self, kind: Kind, raw_name: bytes, parts: Record) -> Item:
        name = _id_of(raw_name, kind) if kind in _NAMED else ""
        assert self._summary is not None  # noqa: S101 - `take` has seen to it
        manifest = self._summary.manifest
        is_string = kind in _STRINGS or (kind == "user" and manifest.codec == packed.CODEC)
        what = f"{kind} {_shown(raw_name)}"
        try:
            if kind == "blocked":
                if parts:
                    raise ArchiveError(f"{what} has a value")
                return Item(kind, name)
            if is_string:
                (value,) = parts
                _check_string(kind, value, manifest)
                return Item(kind, name, value=value)
            fields = _fields(parts, what)
            if kind == "post":
                for name_of_field in fields:
                    _utf8(name_of_field)
            else:
                self._check_slates(kind, fields, manifest.top_n)
        except ValueError as error:
            raise ArchiveError(f"{what} is not one value") from error
        except CodecError as error:
            raise ArchiveError(f"{what}: {error}") from error
        return Item(kind, name, fields)

    def _check_slates(self, kind: Kind, fields: Mapping[bytes, bytes], top_n: int) -> None:
        beside = fields.keys() & _BESIDE if kind == "user" else set()
        if fields.keys() - beside != self._buckets:
            raise CodecError("its fields are not the buckets of the generation")
        for name, value in fields.items():
            if name == SEGMENT_FIELD.encode():
                _utf8(value)
            elif not _SLATE.fullmatch(value):
                decode_slate(value)  # says why, where it knows
                raise CodecError(f"{value[:60]!r} is not a slate")
            elif kind == "user" and name not in beside and value.count(b" ") >= top_n:
                raise CodecError(f"a slate of more than {top_n} posts")


def read_archive(file: IO[bytes], most_bytes: int = MOST_BYTES) -> Generator[Item, None, Summary]:
    """Yield what an archive holds, and return what it was in all.

    Raises ArchiveError, at the latest at the end, where the file is not whole and right.
    """
    checks, records = Checks(), RecordReader(file, most_bytes)
    for record in records:
        yield checks.take(record)
    return checks.finish(records.digest)


def summarise(file: IO[bytes], most_bytes: int = MOST_BYTES) -> Summary:
    """Read a whole archive, and say what it holds; raise ArchiveError where it is not whole and right."""
    checks, records = Checks(), RecordReader(file, most_bytes)
    for record in records:
        checks.take(record)
    return checks.finish(records.digest)


def manifest_record(manifest: Manifest) -> Record:
    """Return the record of a manifest: without its state, which goes on changing, so that a file is the same again."""
    fields = replace(manifest, state="complete").to_hash()
    return [b"manifest", *(part.encode() for pair in sorted(fields.items()) for part in pair)]


def _kind_of(record: Record) -> Kind:
    for kind in KINDS:
        if record[0] == kind.encode():
            return kind
    msg = f"the file holds {_shown(record[0])}, which this hourfeed does not know"
    raise ArchiveError(msg)


def _fields(parts: Record, what: str) -> dict[bytes, bytes]:
    fields = dict(zip(parts[::2], parts[1::2], strict=False))
    if not parts or 2 * len(fields) != len(parts):
        raise ArchiveError(f"{what} is no hash")
    return fields


def _id_of(raw: bytes, kind: Kind) -> str:
    try:
        text = raw.decode("ascii")
        identifier = unescape_id(text)
        if identifier and escape_id(identifier) == text:
            return identifier
    except UnicodeError:
        pass
    msg = f"{_shown(raw)} is no name for {kind}, as names are escaped"
    raise ArchiveError(msg)


def _check_string(kind: Kind, value: bytes, manifest: Manifest) -> None:
    if kind == "user":
        packed.Layout.of(manifest).check(value)
        return
    post_ids = decode_slate(value)
    if kind == "posts" and (len(post_ids) != manifest.posts or len(set(post_ids)) != len(post_ids)):
        msg = f"{len(set(post_ids))} different posts, not {manifest.posts}"
        raise CodecError(msg)


def _utf8(value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"{value[:60]!r} is not text") from error


def _shown(raw: bytes) -> str:
    """Write what a file says so that it can be printed."""
    return repr(raw[:60])[1:]
