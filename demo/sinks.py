"""Where a simulation goes: into the database, or into files that `hourfeed load` takes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from source.bulk import event_writer
from source.schema import SourceSchema
from source.write import write_rows

Kind: TypeAlias = Literal["users", "posts", "events"]
KINDS: tuple[Kind, ...] = ("users", "posts", "events")
WriteDay: TypeAlias = Callable[[int, Iterator[pa.Table]], None]
"""Writes the events of a day (days since 1970), which come table after table in order of time."""
FileFormat: TypeAlias = Literal["parquet", "csv"]


_EPOCH = date(1970, 1, 1)


class Sink(Protocol):
    """Takes users, then posts, then events by day, with canonical columns.

    `in_workers`: days may be written in any order and by several processes, to which the writer is pickled.
    """

    in_workers: ClassVar[bool]

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Write all users, or all posts."""

    def days(self) -> AbstractContextManager[WriteDay]:
        """Return what writes the days, and completes them at the end of the block."""


class DatabaseSink:
    """Writes into the tables of `schema`; rows that are there already are not doubled."""

    in_workers: ClassVar[bool] = False

    def __init__(self, engine: Engine, schema: SourceSchema) -> None:
        self._engine, self._schema = engine, schema

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Add rows, in one transaction."""
        write_rows(self._engine, self._schema, kind, frame)

    @contextmanager
    def days(self) -> Iterator[WriteDay]:
        """Write each table of events in one transaction; into a new table of Postgres, all of them in one."""
        with event_writer(self._engine, self._schema) as writer:

            def write(_day: int, tables: Iterator[pa.Table]) -> None:
                for table in tables:
                    writer.add(table.to_pandas())

            yield write
            writer.finish()


class ParquetSink:
    """Writes users.parquet, posts.parquet and a file of events a day: events/2021-10-01.parquet and so on."""

    in_workers: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Write a file."""
        pq.write_table(
            pa.Table.from_pandas(frame, preserve_index=False), self._folder / f"{kind}.parquet", compression="zstd"
        )

    @contextmanager
    def days(self) -> Iterator[WriteDay]:
        """Write a file for each day."""
        yield self._write_day

    def _write_day(self, day: int, tables: Iterator[pa.Table]) -> None:
        folder = self._folder / "events"
        folder.mkdir(exist_ok=True)
        first = next(tables)
        path = folder / f"{_EPOCH + timedelta(days=day)}.parquet"
        with pq.ParquetWriter(path, first.schema, compression="zstd") as file:
            for table in chain((first,), tables):
                file.write_table(table)


class CsvSink:
    """Writes users.csv, posts.csv and events.csv; times are in UTC."""

    in_workers: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Add rows, below a header when they are the first."""
        path = self._folder / f"{kind}.csv"
        frame.to_csv(path, mode="a", header=not path.exists(), index=False)

    @contextmanager
    def days(self) -> Iterator[WriteDay]:
        """Add each day to the one file."""

        def write(_day: int, tables: Iterator[pa.Table]) -> None:
            for table in tables:
                self.write("events", table.to_pandas())

        yield write


def file_sink(folder: Path, file_format: FileFormat) -> Sink:
    """Return the sink for files of a format."""
    return ParquetSink(folder) if file_format == "parquet" else CsvSink(folder)
