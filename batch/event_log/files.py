"""Files of the log: written whole before the manifest names them, and checked when they are read."""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch.event_log.errors import CorruptLogError

MANIFEST = "manifest.json"
_LOCK = "lock"
_NEW = ".new"


@dataclass(frozen=True)
class FileEntry:
    """A file as the manifest names it: its size and its CRC-32."""

    name: str
    size: int
    crc: int


def entry_of(name: str, data: bytes) -> FileEntry:
    """Return the entry of a file with that content."""
    return FileEntry(name, len(data), zlib.crc32(data))


def write_file(folder: Path, name: str, data: bytes) -> FileEntry:
    """Write a file through to the disk. Nothing reads it before the manifest names it."""
    with (folder / name).open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return entry_of(name, data)


def read_file(folder: Path, entry: FileEntry) -> bytes:
    """Return a file's content; raise CorruptLogError where it is not what was written."""
    try:
        data = (folder / entry.name).read_bytes()
    except OSError as error:
        msg = f"{entry.name} cannot be read: {error.strerror}"
        raise CorruptLogError(msg) from error
    if (len(data), zlib.crc32(data)) != (entry.size, entry.crc):
        msg = f"{entry.name} is not what was written"
        raise CorruptLogError(msg)
    return data


def replace_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Put a new manifest in place of the old one, in one step, when all files that it names are on the disk."""
    body = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    _sync(folder)
    write_file(folder, MANIFEST + _NEW, json.dumps({"crc": zlib.crc32(body)}).encode() + b"\n" + body)
    (folder / (MANIFEST + _NEW)).replace(folder / MANIFEST)
    _sync(folder)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest, None where there is none; raise CorruptLogError where it is not what was written."""
    try:
        head, _, body = (folder / MANIFEST).read_bytes().partition(b"\n")
        if json.loads(head)["crc"] != zlib.crc32(body):
            raise CorruptLogError("the manifest is not what was written")
        content: dict[str, Any] = json.loads(body)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptLogError("the manifest cannot be read") from error
    return content


def remove_others(folder: Path, named: Collection[str]) -> None:
    """Remove every file that neither the manifest names nor is needed besides: what a killed run left."""
    for path in folder.iterdir():
        if path.name not in {*named, MANIFEST, _LOCK} and path.is_file():
            path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[float]:
    """Hold the log for the block, and give the seconds that another run was waited for.

    The lock ends with the process, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("wb") as stream:
        begun = time.monotonic()
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield time.monotonic() - begun


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
