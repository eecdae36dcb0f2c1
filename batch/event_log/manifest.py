"""What the log's manifest says: whose copy it is, which files it consists of, and up to when they hold."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from batch.event_log.blocks import Block
from batch.event_log.errors import CorruptLogError
from batch.event_log.files import FileEntry

FORMAT = 1


@dataclass(frozen=True)
class LogManifest:
    """The state of the log.

    identity : the source and the settings that the log depends on; another one needs another log.
    read_at_s : when the source was last read. next_file : number of the next file. next_check : which block is
    counted again next. bad : rows that cannot be used, with their reasons.
    """

    identity: dict[str, Any]
    read_at_s: int = 0
    next_file: int = 0
    next_check: int = 0
    blocks: tuple[Block, ...] = ()
    users: tuple[FileEntry, ...] = ()
    posts: tuple[FileEntry, ...] = ()
    bad: FileEntry | None = None

    def files(self) -> Iterator[str]:
        """Give the names of all files."""
        for entry in (*(block.file for block in self.blocks), *self.users, *self.posts):
            yield entry.name
        if self.bad:
            yield self.bad.name


def to_json(manifest: LogManifest) -> dict[str, Any]:
    """Return the manifest as JSON holds it."""
    return {"format": FORMAT, **asdict(manifest)}


def from_json(content: dict[str, Any]) -> LogManifest | None:
    """Return what `to_json` was given; None where another version of hourfeed wrote it."""
    if content.get("format") != FORMAT:
        return None
    try:
        fields = {name: value for name, value in content.items() if name != "format"}
        manifest = LogManifest(**fields)
        return replace(
            manifest,
            blocks=tuple(_block(entry) for entry in fields["blocks"]),
            users=tuple(FileEntry(**entry) for entry in fields["users"]),
            posts=tuple(FileEntry(**entry) for entry in fields["posts"]),
            bad=FileEntry(**fields["bad"]) if fields["bad"] else None,
        )
    except (KeyError, TypeError) as error:
        raise CorruptLogError("the manifest lacks something") from error


def _block(entry: dict[str, Any]) -> Block:
    return Block(**{**entry, "file": FileEntry(**entry["file"]), "earliest": tuple(entry["earliest"])})
