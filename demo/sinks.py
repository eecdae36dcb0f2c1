"""Where a simulation goes: into the database, or into files that `hourfeed load` takes."""

from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from source.schema import SourceSchema
from source.write import write_rows

Kind: TypeAlias = Literal["users", "posts", "events"]
KINDS: tuple[Kind, ...] = ("users", "posts", "events")
FileFormat: TypeAlias = Literal["parquet", "csv"]


class Sink(Protocol):
    """Takes frames with canonical columns; those of one kind come in the order of their rows."""

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Add rows."""

    def close(self) -> None:
        """Finish what is open."""


class DatabaseSink:
    """Writes into the tables of `schema`; rows that are there already are not doubled."""

    def __init__(self, engine: Engine, schema: SourceSchema) -> None:
        self._engine, self._schema = engine, schema

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Add rows, in one transaction."""
        write_rows(self._engine, self._schema, kind, frame)

    def close(self) -> None:
        """Do nothing: each write is complete."""


class ParquetSink:
    """Writes users.parquet, posts.parquet and events.parquet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[Kind, pq.ParquetWriter] = {}

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Add rows, as one row group."""
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if kind not in self._writers:
            self._writers[kind] = pq.ParquetWriter(self._folder / f"{kind}.parquet", table.schema, compression="zstd")
        self._writers[kind].write_table(table)

    def close(self) -> None:
        """Write the footers."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


class CsvSink:
    """Writes users.csv, posts.csv and events.csv; times are in UTC."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, kind: Kind, frame: pd.DataFrame) -> None:
        """Add rows, below a header when they are the first."""
        path = self._folder / f"{kind}.csv"
        frame.to_csv(path, mode="a", header=not path.exists(), index=False)

    def close(self) -> None:
        """Do nothing: each write is complete."""


def file_sink(folder: Path, file_format: FileFormat) -> Sink:
    """Return the sink for files of a format."""
    return ParquetSink(folder) if file_format == "parquet" else CsvSink(folder)
