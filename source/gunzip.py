"""Reads gzip as far as it is honest: a few bytes can stand for a thousand times as many, and those take hours."""

from gzip import GzipFile
from io import BufferedReader

from source.errors import SourceError

MOST_TIMES = 200
"""So many bytes may come of one; of logs and texts 3 to 20 do."""
_ALWAYS_BYTES = 64 << 20
"""Short files may be as empty as they like."""


class Gunzip(GzipFile):
    """A gzip file that raises SourceError once it has given too much for its size."""

    def __init__(self, raw: BufferedReader, name: str) -> None:
        super().__init__(fileobj=raw)
        self._raw = raw
        self._file_name = name
        self._given = 0

    def read1(self, size: int = -1) -> bytes:
        """Return some bytes, nothing at the end."""
        data = super().read1(size)
        self._given += len(data)
        if self._given > _ALWAYS_BYTES + MOST_TIMES * self._raw.tell():
            raise SourceError(
                f"{self._file_name} unpacks to more than {MOST_TIMES} times its size, as no log does; unpack it "
                "yourself and load that, if it is what you want"
            )
        return data
