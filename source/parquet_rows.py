"""Reads Parquet as rows of text, so that the same checks apply to it as to CSV."""

import csv
import io
from collections.abc import Generator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from source.chunk import BadRow, Chunk

_EXACT_FLOAT = float(2**53)


class ParquetRows:
    """The rows of one Parquet file; a column that cannot be written as text (a list, a structure) is left out."""

    def __init__(self, stream: IO[bytes], file_bytes: int) -> None:
        self._file = pyarrow.parquet.ParquetFile(stream)
        self._file_bytes = file_bytes
        fields = self._file.schema_arrow
        self.header = [field.name for field in fields if not pa.types.is_nested(field.type)]

    def chunks(self, rows: int) -> Generator[Chunk]:
        """Give the rows, up to so many at once."""
        done = 0
        total = max(self._file.metadata.num_rows, 1)
        for batch in self._file.iter_batches(rows, columns=self.header):
            yield _chunk(batch, done + 1, self._file_bytes * (done + len(batch)) // total)
            done += len(batch)


def _chunk(batch: pa.RecordBatch, first: int, bytes_read: int) -> Chunk:
    flaws: dict[int, str] = {}
    columns = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        columns[name], flawed = _as_strings(values)
        flaws.update(flawed)
    if flaws:
        bad = [BadRow(first + at, reason, _raw(columns, at)) for at, reason in sorted(flaws.items())]
        kept = [at for at in range(len(batch)) if at not in flaws]
        columns = {name: values.take(pa.array(kept, pa.int64())) for name, values in columns.items()}
    else:
        bad, kept = [], list(range(len(batch)))
    return Chunk([first + at for at in kept], columns, lambda at: _raw(columns, at), bad, bytes_read)


def _as_strings(values: Any) -> tuple[Any, dict[int, str]]:
    """Return an array of strings, null where empty, and what is wrong at which position."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        return _whole_as_integers(values), {}
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or _is_binary(values.type)):
        return pc.cast(values, pa.string()), {}
    flaws = {}
    texts = values.cast(pa.large_binary()).to_pylist()
    for at, text in enumerate(texts):
        reason = "" if text is None else _flaw(text)
        if reason:
            flaws[at] = reason
            texts[at] = text.decode(errors="backslashreplace").replace("\0", "\\x00").encode()
    return pa.array([text.decode() if text else None for text in texts], pa.string()), flaws


def _is_binary(type_: Any) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_))


def _flaw(text: bytes) -> str:
    if b"\0" in text:
        return "a NUL character"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "bytes that are not UTF-8"
    return ""


def _whole_as_integers(values: Any) -> Any:
    """Write 5.0 as 5, because whole numbers with gaps are often stored as floating point."""
    values = values.cast(pa.float64())
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less_equal(pc.abs(values), _EXACT_FLOAT))
    integers = pc.if_else(whole, values, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.if_else(whole, integers.cast(pa.string()), values.cast(pa.string()))


def _raw(columns: dict[str, Any], at: int) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values[at].as_py() for values in columns.values())
    return text.getvalue()
