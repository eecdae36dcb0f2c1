"""Numbers the ids of users or posts in the order in which the log met them; a number is never given anew."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from batch.event_log.chunks import Coded
from batch.event_log.errors import CorruptLogError
from batch.event_log.kernels import FREE, fill_slots, number_ids
from batch.tables import Ids, Ints

_FEWEST_SLOTS = 1 << 10


class Dictionary(Protocol):
    """Ids, all integers or all texts, and the index of each."""

    def __len__(self) -> int:
        """Return the number of ids."""
        ...

    def index(self, rows: Coded) -> NDArray[np.int32]:
        """Return the index of each row's id; new ids are added at the end."""
        ...

    def ids(self, begin: int = 0) -> Ids:
        """Return the ids from index `begin` on."""
        ...

    def order(self) -> Ints:
        """Return the indices in the order of their ids: integers by value, texts by code point."""
        ...


def dictionary_of(kind: type, parts: list[bytes]) -> Dictionary:
    """Return the dictionary of ids of a kind, int or str, out of what `ids_to_bytes` gave."""
    if kind is int:
        return _Integers(np.frombuffer(b"".join(parts), dtype="<i8"))
    return _Texts([text for part in parts for text in _texts(part)])


class _Integers:
    def __init__(self, ids: Ints) -> None:
        self._count = len(ids)
        self._grow(ids)

    def __len__(self) -> int:
        return self._count

    def index(self, rows: Coded) -> NDArray[np.int32]:
        values = np.ascontiguousarray(rows.distinct, dtype=np.int64)
        out = np.empty(len(values), dtype=np.int32)
        done = 0
        while done < len(values):
            done, self._count = number_ids(values, done, self._slots, self._ids, self._count, out)
            if done < len(values):
                self._grow(self.ids())
        found: NDArray[np.int32] = out[rows.code]
        return found

    def _grow(self, ids: Ints) -> None:
        n_slots = max(_FEWEST_SLOTS, 1 << (4 * len(ids)).bit_length())
        self._slots = np.full(n_slots, FREE, dtype=np.int32)
        self._ids = np.zeros(n_slots // 2 + 1, dtype=np.int64)
        self._ids[: len(ids)] = ids
        fill_slots(self._ids[: len(ids)], self._slots)

    def ids(self, begin: int = 0) -> Ints:
        return self._ids[begin : self._count].copy()

    def order(self) -> Ints:
        return np.argsort(self.ids(), kind="stable")


class _Texts:
    def __init__(self, ids: list[str]) -> None:
        self._ids = ids
        self._index = {id_: at for at, id_ in enumerate(ids)}

    def __len__(self) -> int:
        return len(self._ids)

    def index(self, rows: Coded) -> NDArray[np.int32]:
        known = self._index
        texts: list[str] = rows.distinct.tolist()
        for text in texts:
            if text not in known:
                known[text] = len(self._ids)
                self._ids.append(text)
        found: NDArray[np.int32] = np.array([known[text] for text in texts], dtype=np.int32)[rows.code]
        return found

    def ids(self, begin: int = 0) -> NDArray[np.object_]:
        return np.array(self._ids[begin:], dtype=object)

    def order(self) -> Ints:
        return np.array(sorted(range(len(self._ids)), key=self._ids.__getitem__), dtype=np.int64)


def ids_to_bytes(ids: Ids) -> bytes:
    """Return ids as bytes: int64, or the number of texts, the bytes of each, and the texts in UTF-8."""
    if ids.dtype.kind == "i":
        return ids.astype("<i8").tobytes()
    texts = [str(id_).encode() for id_ in ids]
    sizes = np.array([len(texts), *map(len, texts)], dtype="<i8")
    return sizes.tobytes() + b"".join(texts)


def _texts(data: bytes) -> list[str]:
    count = int(np.frombuffer(data, dtype="<i8", count=1)[0])
    sizes = np.frombuffer(data, dtype="<i8", count=1 + count)[1:]
    ends = (8 * (1 + count) + np.cumsum(sizes)).tolist()
    begins = [8 * (1 + count), *ends][:count]
    try:
        return [data[begin:end].decode() for begin, end in zip(begins, ends, strict=True)]
    except UnicodeDecodeError as error:
        raise CorruptLogError("an id is not UTF-8") from error
