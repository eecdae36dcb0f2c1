"""Takes users out of the log: their events, their ids, and their rows among the unusable ones."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.event_log.bad_rows import BadRows, bad_rows_from_bytes
from batch.event_log.blocks import Block, from_bytes, to_bytes
from batch.event_log.dictionary import dictionary_of, ids_to_bytes
from batch.event_log.errors import CorruptLogError
from batch.event_log.files import (
    MANIFEST,
    FileEntry,
    locked,
    read_file,
    read_manifest,
    remove_others,
    replace_manifest,
    write_file,
)
from batch.event_log.manifest import LogManifest, from_json, to_json
from batch.event_log.sorting import Columns

Indices = NDArray[np.int32]


def erase_from_log(folder: Path, user_ids: Collection[str]) -> int:
    """Remove users from the log in `folder`; return how many events went.

    Rows that the database still holds come back with the next runs. A log that is damaged goes as a whole: the next run
    reads all events anew.
    """
    if not user_ids or not folder.is_dir():
        return 0
    with locked(folder):
        try:
            content = read_manifest(folder)
            manifest = from_json(content) if content else None
            return _Erasure(folder, manifest).run(user_ids) if manifest else 0
        except CorruptLogError:
            remove_others(folder, ())
            (folder / MANIFEST).unlink(missing_ok=True)
            return 0


class _Erasure:
    """Rewrites what names the users; the log is held by its lock."""

    def __init__(self, folder: Path, manifest: LogManifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._next_file = manifest.next_file

    def run(self, user_ids: Collection[str]) -> int:
        users, indices = self._without_ids(user_ids)
        blocks = [self._without_events(block, indices) for block in self._manifest.blocks] if len(indices) else None
        bad = self._without_bad_rows(user_ids)
        if blocks is None and bad is self._manifest.bad:
            return 0
        before = sum(block.rows for block in self._manifest.blocks)
        kept = self._manifest.blocks if blocks is None else tuple(block for block in blocks if block is not None)
        new = replace(self._manifest, blocks=kept, users=users, bad=bad, next_file=self._next_file)
        replace_manifest(self._folder, to_json(new))
        remove_others(self._folder, set(new.files()))
        return before - sum(block.rows for block in kept)

    def _without_ids(self, user_ids: Collection[str]) -> tuple[tuple[FileEntry, ...], Indices]:
        """Return the files of ids with others in the users' places, and the indices of the users."""
        kind = int if self._manifest.identity["ids"][0] == "int" else str
        parts = [read_file(self._folder, entry) for entry in self._manifest.users]
        ids = dictionary_of(kind, parts).ids()
        wanted = set(user_ids)
        indices = np.array([at for at, id_ in enumerate(ids.tolist()) if str(id_) in wanted], dtype=np.int32)
        if not len(indices):
            return self._manifest.users, indices
        # What stands there must be the id of nobody: no event has an empty one, nor likely one so far below zero.
        ids[indices] = np.iinfo(np.int64).min + indices.astype(np.int64) if kind is int else ""
        return (self._written(ids_to_bytes(ids), "ids"),), indices

    def _without_events(self, block: Block, indices: Indices) -> Block | None:
        events = from_bytes(block, read_file(self._folder, block.file))
        kept = ~np.isin(events.user, indices)
        if kept.all():
            return block
        if not kept.any():
            return None
        rest = Columns(events.at_s[kept], events.user[kept], events.post[kept], events.action[kept])
        data, user_bytes, post_bytes = to_bytes(rest)
        return replace(
            block,
            file=self._written(data, "events"),
            rows=len(rest),
            first_s=int(rest.at_s[0]),
            last_s=int(rest.at_s[-1]),
            user_bytes=user_bytes,
            post_bytes=post_bytes,
        )

    def _without_bad_rows(self, user_ids: Collection[str]) -> FileEntry | None:
        entry = self._manifest.bad
        if entry is None:
            return None
        rows = bad_rows_from_bytes(read_file(self._folder, entry)).table
        begins = tuple(f"{user_id}," for user_id in user_ids)  # of what follows the time
        kept = [not (text or "").partition(",")[2].startswith(begins) for text in rows["row"].to_pylist()]
        return entry if all(kept) else self._written(BadRows(rows.filter(pa.array(kept))).to_bytes(), "bad")

    def _written(self, data: bytes, kind: str) -> FileEntry:
        name = f"{self._next_file:08}.{kind}"
        self._next_file += 1
        return write_file(self._folder, name, data)
