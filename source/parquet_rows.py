"""Reads Parquet in chunks like those of CSV, so that the same checks apply: as text, or as numbers and times."""

import csv
import io
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from source.chunk import BadRow, Chunk
from source.csv_lines import RECORD_BYTES
from source.errors import SourceError

_EXACT_FLOAT = float(2**53)


class ParquetRows:
    """The rows of Parquet files, one file after the other; they have the columns of the first.

    A column that is no single value a row (a list, a structure) is left out.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        with _opened(paths[0]) as file:
            fields = file.schema_arrow
        self.header = [field.name for field in fields if not pa.types.is_nested(field.type)]

    def chunks(self, rows: int) -> Generator[Chunk]:
        """Give the rows, up to so many at once."""
        first, bytes_before = 1, 0
        for path in self._paths:
            file_bytes, done = path.stat().st_size, 0
            with _opened(path) as file:
                self._check_columns(path, file.schema_arrow.names)
                total = max(file.metadata.num_rows, 1)
                for batch in file.iter_batches(rows, columns=self.header):
                    done += len(batch)
                    yield _chunk(batch, first, bytes_before + file_bytes * done // total)
                    first += len(batch)
            bytes_before += file_bytes

    def _check_columns(self, path: Path, names: Collection[str]) -> None:
        missing = [name for name in self.header if name not in names]
        if missing:
            raise SourceError(f"{path.name} lacks the columns {', '.join(missing)}, which {self._paths[0].name} has")


@contextmanager
def _opened(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException, UnicodeDecodeError, MemoryError) as error:
        words = str(error).partition("\n")[0] or type(error).__name__
        raise SourceError(f"{path.name} is damaged or not what its ending says: {words:.300}") from error


def _chunk(batch: pa.RecordBatch, first: int, bytes_read: int) -> Chunk:
    flaws: dict[int, str] = {}
    columns = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        columns[name], flawed = _as_column(values)
        flaws.update(flawed)
    if flaws:
        bad = [BadRow(first + at, reason, _raw(columns, at)) for at, reason in sorted(flaws.items())]
        kept = [at for at in range(len(batch)) if at not in flaws]
        columns = {name: values.take(pa.array(kept, pa.int64())) for name, values in columns.items()}
    else:
        bad, kept = [], list(range(len(batch)))
    return Chunk([first + at for at in kept], columns, lambda at: _raw(columns, at), bad, bytes_read)


def _as_column(values: Any) -> tuple[Any, dict[int, str]]:
    """Return an array as a Chunk wants it, null where empty, and what is wrong at which position."""
    type_ = values.type
    if pa.types.is_dictionary(type_):
        values, type_ = values.dictionary_decode(), type_.value_type
    if pa.types.is_signed_integer(type_) or (pa.types.is_timestamp(type_) and type_.tz is None):
        return values, {}
    if pa.types.is_floating(type_):
        return _whole_as_integers(values), {}
    if not (pa.types.is_string(type_) or pa.types.is_large_string(type_) or _is_binary(type_)):
        return pc.cast(values, pa.string()), {}
    if not _is_binary(type_) and _is_clean(values):
        return values.cast(pa.string()), {}
    flaws = {}
    texts = values.cast(pa.large_binary()).to_pylist()
    for at, text in enumerate(texts):
        reason = "" if text is None else _flaw(text)
        if reason:
            flaws[at] = reason
            texts[at] = text.decode(errors="backslashreplace").replace("\0", "\\x00").encode()
    return pa.array([text.decode() if text else None for text in texts], pa.string()), flaws


def _is_clean(texts: Any) -> bool:
    """Tell, at a fraction of the time that a look at each text takes, whether all are good and none is empty."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    if (pc.max(pc.binary_length(texts)).as_py() or 0) > RECORD_BYTES:
        return False
    return not pc.any(pc.or_(pc.equal(texts, ""), pc.match_substring(texts, "\0"))).as_py()


def _is_binary(type_: Any) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_))


def _flaw(text: bytes) -> str:
    if len(text) > RECORD_BYTES:
        return "longer than 1 MiB"
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
    csv.writer(text, lineterminator="").writerow(_plain(values[at]) for values in columns.values())
    return text.getvalue()


def _plain(value: Any) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):  # a time that Python has not
        return str(value.cast(pa.int64()))
