"""Brings the log up to the source, and gives its events."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import numpy as np
from sqlalchemy import Connection

from batch.errors import BatchError
from batch.event_log.bad_rows import bad_rows_from_bytes, no_bad_rows, with_new
from batch.event_log.blocks import empty, fill, rows_before
from batch.event_log.chunks import Chunk, fetch_copied, fetch_selected
from batch.event_log.dictionary import Dictionary, dictionary_of, ids_to_bytes
from batch.event_log.errors import CorruptLogError
from batch.event_log.files import (
    FileEntry,
    locked,
    read_file,
    read_manifest,
    remove_others,
    replace_manifest,
    write_file,
)
from batch.event_log.manifest import LogManifest, from_json, to_json
from batch.event_log.queries import EventSource, Span
from batch.event_log.rewrite import Rewrite
from batch.event_log.sorting import NEVER, Columns, Order, Spill
from batch.tables import Ids
from source.chunk import BadRow
from source.existing import ExistingTable

_SPILL = "unsorted"
_DICTIONARY_FILES = 32
"""More of them are written as one."""


@dataclass(frozen=True)
class LogOptions:
    """Where the log lies, what counts as an event, and how late rows may come.

    late_s : a row may appear, change or vanish in the source up to so many seconds after its time.
    full_refresh : read everything anew.
    """

    folder: Path
    actions: Mapping[str, int]
    late_s: int
    full_refresh: bool = False


@dataclass(frozen=True)
class LoggedEvents:
    """Events before a moment, in the order of (second, user id, post id, action).

    events : user and post are indices of user_ids and post_ids, which are in no order and hold later ones too.
    bad : unusable rows before that moment, as far as they are listed; n_bad : how many there are.
    responses : for each action the values of `target` that it had before that moment, of 0, 1 and others (2).
    """

    events: Columns
    user_ids: Ids
    post_ids: Ids
    bad: list[BadRow]
    n_bad: int
    responses: dict[str, set[int]]
    notes: tuple[str, ...]


def read_log(
    connection: Connection,
    events: ExistingTable,
    before_s: int,
    options: LogOptions,
    progress: Callable[[int], None],
) -> LoggedEvents:
    """Read what is new in the source into the log, and return the log's events before a moment.

    `progress` hears the number of rows read so far. Raises BatchError where the log cannot be written.
    """
    try:
        return _read_log(connection, events, before_s, options, progress)
    except OSError as error:
        msg = f"the event log in {options.folder} cannot be written: {error.strerror or error}"
        raise BatchError(msg) from error


def _read_log(
    connection: Connection,
    events: ExistingTable,
    before_s: int,
    options: LogOptions,
    progress: Callable[[int], None],
) -> LoggedEvents:
    source = EventSource(connection, events, options.actions)
    with locked(options.folder) as waited_s:
        notes = [f"waited {waited_s:.0f} s for another run that read the event log"] if waited_s > 1 else []
        log = _EventLog(options.folder, source, progress)
        try:
            notes += log.open(anew=options.full_refresh)
            log.update(options.late_s)
            return log.events(before_s, notes)
        except CorruptLogError as error:
            notes.append(f"the event log was damaged ({error}), so all events are read anew")
        log = _EventLog(options.folder, source, progress)
        log.open(anew=True)
        log.update(options.late_s)
        return log.events(before_s, notes)


class _EventLog:
    """The log, held by its lock."""

    def __init__(self, folder: Path, source: EventSource, progress: Callable[[int], None]) -> None:
        self._folder = folder
        self._source = source
        self._progress = progress
        self._rows = 0

    def open(self, *, anew: bool) -> list[str]:
        """Take the log as it is, or begin another one where it is of another source; return what is to be told."""
        identity = self._source.identity()
        content = None if anew else read_manifest(self._folder)
        found = from_json(content) if content else None
        notes = []
        if content and (found is None or found.identity != identity):
            changed = [] if found is None else [name for name in identity if identity[name] != found.identity.get(name)]
            notes = [f"all events are read anew, as {' and '.join(changed) or 'the version'} changed"]
            found = None
        # A log that is begun anew takes further numbers: what the old manifest names stays until it is replaced.
        self._manifest = found or LogManifest(identity, next_file=self._next_free())
        self._users, self._posts = (self._dictionary(which) for which in range(2))
        bad = self._manifest.bad
        self._bad = bad_rows_from_bytes(read_file(self._folder, bad)) if bad else no_bad_rows()
        return notes

    def update(self, late_s: int) -> None:
        """Read what may have changed since the last time."""
        manifest = self._manifest
        read_at_s = int(time.time())
        spans, next_check = self._spans(late_s)
        shutil.rmtree(self._folder / _SPILL, ignore_errors=True)  # of a run that was killed
        spill = Spill(self._folder / _SPILL, len(self._source.actions))
        known = len(self._users), len(self._posts)
        bad = self._bad.outside(spans)
        for span in spans:
            if self._fetch(span, spill):
                bad = with_new(bad, self._source.bad_rows(span), self._source.actions)
        users, posts = Order.of(self._users.order()), Order.of(self._posts.order())
        rewrite = Rewrite(self._folder, manifest.blocks, manifest.next_file)
        blocks = rewrite.run(spans, spill.units(), users, posts)
        self._next_file = rewrite.next_file
        self._manifest = replace(
            manifest,
            read_at_s=read_at_s,
            next_check=next_check,
            blocks=blocks,
            users=self._ids_written(manifest.users, self._users, known[0]),
            posts=self._ids_written(manifest.posts, self._posts, known[1]),
            bad=self._written(bad.to_bytes(), "bad") if len(bad) else None,
        )
        self._manifest = replace(self._manifest, next_file=self._next_file)
        self._bad = bad
        replace_manifest(self._folder, to_json(self._manifest))
        spill.remove()
        remove_others(self._folder, set(self._manifest.files()))

    def events(self, before_s: int, notes: Sequence[str]) -> LoggedEvents:
        """Return the events before a moment."""
        blocks = [block for block in self._manifest.blocks if block.first_s < before_s]
        cut = len(blocks) > 0 and blocks[-1].last_s >= before_s
        last = read_file(self._folder, blocks[-1].file) if cut else b""
        rows = [block.rows for block in blocks]
        if cut:
            rows[-1] = rows_before(blocks[-1], last, before_s)
        events = empty(sum(rows))

        def load(place: int) -> None:
            data = last if cut and place == len(blocks) - 1 else read_file(self._folder, blocks[place].file)
            begin = sum(rows[:place])
            fill(blocks[place], data, events.slice(begin, begin + rows[place]))

        with ThreadPoolExecutor(numba.get_num_threads()) as pool:  # reading, checking and widening let go of the lock
            for _ in pool.map(load, range(len(blocks))):
                pass
        earliest = np.full((len(self._source.actions), 4), NEVER)
        for block in blocks:
            earliest = np.minimum(earliest, np.array(block.earliest).reshape(earliest.shape))
        seen = earliest < before_s
        return LoggedEvents(
            events,
            self._users.ids(),
            self._posts.ids(),
            self._bad.listed(before_s),
            self._bad.before(before_s),
            {
                action: {value for value in range(3) if seen[place, value]}
                for place, action in enumerate(self._source.actions)
                if seen[place].any()
            },
            tuple(notes),
        )

    def _spans(self, late_s: int) -> tuple[list[Span], int]:
        """Return what is to be read: the latest events, and a part of the older ones if it is not as it was."""
        manifest = self._manifest
        blocks = manifest.blocks
        if not blocks:
            return [Span()], 0
        since_s = min(blocks[-1].last_s, manifest.read_at_s) - late_s
        older = [place for place, block in enumerate(blocks) if block.first_s < since_s]
        if not older:
            return [Span()], 0
        checked = manifest.next_check % len(older)
        begin_s = None if checked == 0 else blocks[checked].first_s
        following = blocks[checked + 1].first_s if checked + 1 < len(blocks) else since_s
        span = Span(begin_s, min(following, since_s))
        block = blocks[checked]
        rows = block.rows
        if block.last_s >= since_s:
            rows = rows_before(block, read_file(self._folder, block.file), since_s)
        if self._source.count(span) == rows + self._bad.count(span):
            return [Span(since_s)], checked + 1
        if span.end_s == since_s:
            return [Span(begin_s)], checked + 1
        return [span, Span(since_s)], checked + 1

    def _fetch(self, span: Span, spill: Spill) -> bool:
        """Read a span's rows into `spill`; say whether there are unusable ones."""

        def hear(chunk: Chunk) -> None:
            user, post = self._users.index(chunk.user), self._posts.index(chunk.post)
            spill.add(chunk.at_s, user, post, chunk.action, chunk.target)
            self._rows += len(chunk.at_s)
            self._progress(self._rows)

        source = self._source
        fetch = fetch_copied if source.is_postgres else fetch_selected
        return fetch(source.connection, source.rows(span), source.kinds, source.actions, hear) > 0

    def _dictionary(self, which: int) -> Dictionary:
        kind = self._source.kinds[which]
        files = (self._manifest.users, self._manifest.posts)[which]
        return dictionary_of(kind, [read_file(self._folder, entry) for entry in files])

    def _ids_written(self, files: tuple[FileEntry, ...], ids: Dictionary, known: int) -> tuple[FileEntry, ...]:
        if len(ids) == known:
            return files
        if len(files) >= _DICTIONARY_FILES:
            files, known = (), 0
        return (*files, self._written(ids_to_bytes(ids.ids(known)), "ids"))

    def _written(self, data: bytes, kind: str) -> FileEntry:
        name = f"{self._next_file:08}.{kind}"
        self._next_file += 1
        return write_file(self._folder, name, data)

    def _next_free(self) -> int:
        numbers = [path.stem for path in self._folder.iterdir() if path.stem.isdigit()]
        return max((int(number) for number in numbers), default=-1) + 1
