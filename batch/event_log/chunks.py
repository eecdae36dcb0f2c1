"""Fetches event rows chunk by chunk: binary COPY out of Postgres, a plain cursor out of SQLite."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, Select

from batch.errors import BatchError
from batch.event_log.decode import (
    FIELDS,
    HEADER,
    HEADER_BYTES,
    TARGET_NULL,
    TARGET_OTHER,
    decode_rows,
    gather_texts,
)
from batch.tables import Ids, Ints

_CHUNK_BYTES = 16 << 20
_CHUNK_ROWS = 200_000
_ROW_BYTES = 2 + 4 * FIELDS
"""The least that a row takes in binary."""


@dataclass(frozen=True)
class Coded:
    """Ids of rows: distinct[code]. Texts come without doubles, integers row by row, `code` being a slice of all."""

    distinct: Ids
    code: Ints | slice


@dataclass(frozen=True)
class Chunk:
    """Usable rows in no order, arrays of shape (n,).

    at_s : int64, seconds since 1970. action : int8, index among the known ones. target : int8, one of
    decode.TARGET_…
    """

    at_s: Ints
    user: Coded
    post: Coded
    action: NDArray[np.int8]
    target: NDArray[np.int8]


def fetch_selected(
    connection: Connection,
    query: Select[Any],
    kinds: tuple[type, type],
    actions: Sequence[str],
    hear: Callable[[Chunk], None],
) -> int:
    """Run a query (seconds, user id, post id, action, target, whether usable) and hand on its usable rows.

    Returns the number of unusable rows.
    """
    bad = 0
    known = pd.Index(list(actions), dtype=object)
    result = connection.execute(query)
    while rows := result.fetchmany(_CHUNK_ROWS):
        usable = [row[:-1] for row in rows if row[-1]]
        bad += len(rows) - len(usable)
        if not usable:
            continue
        at_s, user, post, action, target = zip(*usable, strict=True)
        coded = [_coded(ids, kind) for ids, kind in zip((user, post), kinds, strict=True)]
        codes = known.get_indexer(pd.Index(action, dtype=object)).astype(np.int8)
        hear(Chunk(np.array(at_s, dtype=np.int64), coded[0], coded[1], codes, _classes(target)))
    return bad


def fetch_copied(
    connection: Connection,
    query: Select[Any],
    kinds: tuple[type, type],
    actions: Sequence[str],
    hear: Callable[[Chunk], None],
) -> int:
    """COPY a query (time, user id, post id, action, target) out of Postgres, and hand on its usable rows.

    Integer ids must be bigint, other ids text, the target integer. Returns the number of unusable rows.
    """
    sql = query.compile(connection, compile_kwargs={"literal_binds": True})
    command = f"COPY ({sql}) TO STDOUT WITH (FORMAT binary)".replace("%%", "%")
    decoder = _Decoder(kinds, actions, hear)
    sink = io.BufferedWriter(decoder, _CHUNK_BYTES)  # psycopg2 writes row by row; the decoder hears of many at once
    connection.connection.cursor().copy_expert(command, sink)
    sink.flush()
    return decoder.bad


class _Decoder(io.RawIOBase):
    """A file that decodes what is written to it."""

    def __init__(self, kinds: tuple[type, type], actions: Sequence[str], hear: Callable[[Chunk], None]) -> None:
        super().__init__()
        names = [name.encode() for name in actions]
        self._names = np.frombuffer(b"".join(names), dtype=np.uint8)
        self._ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        self._is_text = np.array([kind is str for kind in kinds])
        self._hear = hear
        self._rest = b""
        self._begun = False
        self.bad = 0

    def writable(self) -> bool:
        return True

    def write(self, written: Any) -> int:
        data = self._rest + bytes(written) if self._rest else bytes(written)
        begin = 0
        if not self._begun:
            if len(data) < HEADER_BYTES:
                self._rest = data
                return len(written)
            if not data.startswith(HEADER):
                raise BatchError("Postgres sent no binary COPY; is there a proxy in between that changes it?")
            self._begun, begin = True, HEADER_BYTES
        self._rest = data[self._decode(np.frombuffer(data, dtype=np.uint8), begin) :]
        return len(written)

    def _decode(self, buffer: NDArray[np.uint8], begin: int) -> int:
        most = (len(buffer) - begin) // _ROW_BYTES + 1
        at_s, ids, sizes = np.empty(most, np.int64), np.empty((2, most), np.int64), np.empty((2, most), np.int32)
        action, target = np.empty(most, np.int8), np.empty(most, np.int8)
        end, rows, bad = decode_rows(
            buffer, begin, self._is_text, self._names, self._ends, at_s, ids, sizes, action, target
        )
        if end < 0:
            raise BatchError("Postgres sent times or ids of an unknown binary form")
        self.bad += bad
        if rows:
            user, post = (
                _coded_texts(buffer, ids[which, :rows], sizes[which, :rows])
                if self._is_text[which]
                else Coded(ids[which, :rows], slice(None))
                for which in range(2)
            )
            self._hear(Chunk(at_s[:rows], user, post, action[:rows], target[:rows]))
        return end


def _coded(ids: Sequence[Any], kind: type) -> Coded:
    if kind is int:
        return Coded(np.array(ids, dtype=np.int64), slice(None))
    code, distinct = pd.factorize(np.array(ids, dtype=object))
    return Coded(np.asarray(distinct), code)


def _coded_texts(buffer: NDArray[np.uint8], begins: Ints, sizes: NDArray[np.int32]) -> Coded:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int32)
    np.cumsum(sizes, out=offsets[1:])
    texts = np.empty(offsets[-1], dtype=np.uint8)
    gather_texts(buffer, begins, offsets, texts)
    array = pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(texts)).dictionary_encode()
    return Coded(np.array(array.dictionary.to_pylist(), dtype=object), array.indices.to_numpy().astype(np.int64))


def _classes(target: Sequence[int | None]) -> NDArray[np.int8]:
    found = [TARGET_NULL if value is None else int(value) if value in {0, 1} else TARGET_OTHER for value in target]
    return np.array(found, dtype=np.int8)
