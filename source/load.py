"""Loads a folder of files into the database: find, read, check, write, and set the bad rows aside."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from source.bulk import event_writer
from source.engine import database_errors
from source.errors import SourceError
from source.files import STEMS, RowFile, find_files, open_rows
from source.quarantine import Quarantine, QuarantineFile
from source.schema import SourceSchema
from source.tables import INTEGER, TEXT, ColumnForm, Kind, existing_forms
from source.validate import IDS, Validator, columns_in, ids_are_integers
from source.write import write_rows

SAMPLED_IDS = 10_000
Progress = Callable[[Path, int, int], None]
"""Told after each chunk: the file, the bytes of it that are done, the rows of it that are done."""
Forms = Mapping[Kind, dict[str, ColumnForm] | None]


@dataclass
class FileReport:
    """What became of the rows of one file: rows = new + known + the sum of quarantined.

    `known` rows were there before: a user or post was replaced, an event left. `quarantined` counts by reason.
    """

    path: Path
    kind: Kind
    rows: int = 0
    new: int = 0
    known: int = 0
    seconds: float = 0.0
    quarantined: dict[str, int] = field(default_factory=dict)
    quarantine_path: Path | None = None
    ignored_columns: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoadReport:
    """What `load_folder` did, file by file, and the names in the folder that it passed over."""

    files: list[FileReport]
    ignored: list[str]


def load_folder(
    folder: Path,
    engine: Engine,
    schema: SourceSchema,
    actions: Collection[str],
    quarantine_folder: Path,
    progress: Progress | None = None,
) -> LoadReport:
    """Load the users, posts and events in `folder`; a row that cannot be used is counted and set aside.

    Chunks are committed one by one (events that go into a new table of Postgres all at once), and loading a file again
    is harmless. Raises SourceError when there is nothing to
    load, a file lacks a column or is damaged (its rows before the damage are loaded), or the database refuses.
    """
    paths, ignored = find_files(folder)
    with database_errors(engine, "looking at the tables"), engine.connect() as connection:
        forms = {kind: existing_forms(connection, schema, kind) for kind in STEMS}
    id_forms = _id_forms(paths, schema, forms)
    quarantine = Quarantine(quarantine_folder)
    reports = []
    for kind, path in paths.items():
        given = {**{name: id_forms[name] for name in IDS[kind]}, **(forms[kind] or {})}
        with open_rows(path, kind) as file, quarantine.of(path.name) as bad:
            columns = columns_in(file.header, path.name, schema, kind)
            validator = Validator(kind, columns, given, actions)
            reports.append(_load_file(file, validator, bad, engine, schema, progress))
    return LoadReport(reports, ignored)


def _load_file(
    file: RowFile,
    validator: Validator,
    bad: QuarantineFile,
    engine: Engine,
    schema: SourceSchema,
    progress: Progress | None,
) -> FileReport:
    began = time.monotonic()
    report = FileReport(file.path, validator.kind)
    report.ignored_columns = [name for name in file.header if name not in validator.columns.values()]
    if validator.kind == "events":
        with event_writer(engine, schema) as writer:
            damage = _load_chunks(file, validator, bad, writer.add, report, progress)
            doubled = writer.finish()
        report.new -= doubled
        report.known += doubled
    else:
        write = partial(write_rows, engine, schema, validator.kind)
        damage = _load_chunks(file, validator, bad, write, report, progress)
    if damage:
        raise SourceError(f"{damage}. The {report.rows:,} rows before that point are loaded") from damage
    report.quarantined = dict(bad.counts)
    report.quarantine_path = bad.path if bad.counts else None
    report.seconds = time.monotonic() - began
    return report


def _load_chunks(
    file: RowFile,
    validator: Validator,
    bad: QuarantineFile,
    write: Callable[[pd.DataFrame], int],
    report: FileReport,
    progress: Progress | None,
) -> SourceError | None:
    """Load chunk after chunk; return what is wrong where the file breaks off, so that what was read can be kept."""
    with closing(file.chunks()) as chunks:
        while True:
            try:
                chunk = next(chunks, None)
            except SourceError as error:
                return error
            if chunk is None:
                return None
            frame, bad_rows = validator.part(chunk)
            bad.add(bad_rows)
            new = write(frame)
            report.rows += chunk.rows_read
            report.new += new
            report.known += len(frame) - new
            if progress:
                progress(file.path, chunk.bytes_read, report.rows)


def _id_forms(paths: Mapping[Kind, Path], schema: SourceSchema, forms: Forms) -> dict[str, ColumnForm]:
    """Return the form of the ids in tables that are yet to be made: as in the other tables, else as in most rows."""
    samples: dict[str, list[Any]] = {"user_id": [], "post_id": []}
    for kind, path in paths.items():
        with open_rows(path, kind) as file:
            columns = columns_in(file.header, path.name, schema, kind)
            with closing(file.chunks(SAMPLED_IDS)) as chunks:
                chunk = next(chunks, None)
            for name in IDS[kind]:
                samples[name] += [chunk.columns[columns[name]]] if chunk else []
    there = {name: form for found in forms.values() if found for name, form in found.items() if name in samples}
    decided = {}
    for name, arrays in samples.items():
        is_integer = there[name].form == "integer" if name in there else ids_are_integers(arrays)
        decided[name] = INTEGER if is_integer else TEXT
    return decided
