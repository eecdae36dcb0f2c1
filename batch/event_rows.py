"""Fetches the event rows in bulk: COPY out of Postgres, a plain cursor out of SQLite."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, Select

from batch.tables import Ints

_CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class EventRows:
    """Usable events in no order; arrays of shape (n_events,).

    at_s : seconds since 1970. user, post : int64, or str objects. action : int8, places among the known actions.
    """

    at_s: Ints
    user: NDArray[Any]
    post: NDArray[Any]
    action: NDArray[np.int8]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.at_s)


def fetch_events(
    connection: Connection,
    query: Select[Any],
    kinds: tuple[type, type],
    actions: Sequence[str],
    progress: Callable[[int], None],
) -> EventRows:
    """Run `query` (seconds, user id, post id, one of `actions`; no NULL among them) and return its rows.

    `kinds` are the types of the user and post ids, int or str; `progress` hears the number of rows so far.
    """
    known = pd.Index(list(actions), dtype=object)
    fetch = _copied if connection.dialect.name == "postgresql" else _selected
    chunks, rows = [], 0
    for chunk in fetch(connection, query, kinds):
        *numbers, action = chunk
        chunks.append([*numbers, known.get_indexer(pd.Index(action, dtype=object)).astype(np.int8)])
        rows += len(action)
        progress(rows)
    empty: list[NDArray[Any]] = [np.zeros(0, dtype=kind) for kind in (np.int64, *map(_dtype, kinds), np.int8)]
    columns = [np.concatenate(parts) for parts in zip(*chunks, strict=True)] if chunks else empty
    return EventRows(*columns)


def _dtype(kind: type) -> type:
    return np.int64 if kind is int else object


def _selected(connection: Connection, query: Select[Any], kinds: tuple[type, type]) -> Iterator[list[NDArray[Any]]]:
    result = connection.execute(query)
    while rows := result.fetchmany(_CHUNK_ROWS):
        columns = list(zip(*rows, strict=True))
        yield [np.array(values, dtype=_dtype(kind)) for values, kind in zip(columns, (int, *kinds, str), strict=True)]


def _copied(connection: Connection, query: Select[Any], kinds: tuple[type, type]) -> Iterator[list[NDArray[Any]]]:
    sql = query.compile(connection, compile_kwargs={"literal_binds": True})
    command = f"COPY ({sql}) TO STDOUT WITH (FORMAT csv, ENCODING 'UTF8')".replace("%%", "%")
    reader_fd, writer_fd = os.pipe()
    failures: list[BaseException] = []

    def copy() -> None:
        try:
            with os.fdopen(writer_fd, "wb") as sink:
                connection.connection.cursor().copy_expert(command, sink)  # psycopg2's own
        except BaseException as error:  # noqa: BLE001 - raised again where the rows are read
            failures.append(error)

    copier = threading.Thread(target=copy, name="copy-events", daemon=True)
    copier.start()
    types = {at: np.int64 if kind is int else str for at, kind in enumerate((int, *kinds, str))}
    with os.fdopen(reader_fd, "rb") as source:
        try:
            chunks = pd.read_csv(
                source, header=None, names=list(types), dtype=types, chunksize=_CHUNK_ROWS, keep_default_na=False
            )
            for chunk in chunks:
                yield [chunk[at].to_numpy(dtype=np.int64 if types[at] is np.int64 else object) for at in types]
        except pd.errors.EmptyDataError:
            pass
    copier.join()
    if failures:
        raise failures[0]
