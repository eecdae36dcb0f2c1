"""Vectors of texts that were embedded before, in one SQLite file: a run embeds only texts that no run has met.

Each batch of vectors is one transaction, so a run that is killed loses the batch at hand, and two runs may share the
file. Vectors are kept in half precision, and used so even when they are fresh: a run gives the same slates whether it
has them or makes them.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError

if TYPE_CHECKING:
    from batch.text.embedder import Embedder

_AT_ONCE = 64
_WAIT_S = 60.0
_DAY_S = 86_400
MOST_VECTORS = 1_000_000
"""Vectors that the file holds: 0.8 GB at a width of 384. Those used longest ago go first, none that is in use today."""


class VectorCache:
    """The file. `today` counts days, for the order in which vectors are given up."""

    def __init__(self, path: Path, most: int = MOST_VECTORS, today: int | None = None) -> None:
        self._path = path
        self._most = most
        self._today = int(time.time() // _DAY_S) if today is None else today

    def read(self, encoder: str, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
        """Return the known vectors by the digest of their text, and note that they were used."""
        with closing(self._open()) as db, db:
            db.execute("BEGIN IMMEDIATE")  # what begins by reading cannot wait for another's writing
            db.execute("CREATE TEMP TABLE wanted (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            db.executemany("INSERT INTO wanted VALUES (?)", ((digest,) for digest in digests))
            found = db.execute(
                "SELECT digest, vector FROM wanted JOIN vectors USING (digest) WHERE encoder = ?", (encoder,)
            ).fetchall()
            db.execute(
                "UPDATE vectors SET used_on = ? WHERE encoder = ? AND used_on < ? AND digest IN wanted",
                (self._today, encoder, self._today),
            )
        return {digest: np.frombuffer(vector, dtype="<f2") for digest, vector in found}

    def write(self, encoder: str, digests: Sequence[bytes], vectors: NDArray[np.float16]) -> None:
        """Keep vectors, all or none."""
        rows = [
            (encoder, digest, vector.astype("<f2").tobytes(), self._today)
            for digest, vector in zip(digests, vectors, strict=True)
        ]
        with closing(self._open()) as db, db:
            db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    def trim(self) -> None:
        """Give up the vectors used longest ago, where there are too many."""
        with closing(self._open()) as db, db:
            db.execute("BEGIN IMMEDIATE")
            (count,) = db.execute("SELECT count(*) FROM vectors").fetchone()
            if count > self._most:
                db.execute(
                    "DELETE FROM vectors WHERE rowid IN "
                    "(SELECT rowid FROM vectors WHERE used_on < ? ORDER BY used_on, rowid LIMIT ?)",
                    (self._today, count - self._most),
                )

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, timeout=_WAIT_S)
            db.execute(
                "CREATE TABLE IF NOT EXISTS vectors (encoder TEXT, digest BLOB, vector BLOB NOT NULL, "
                "used_on INTEGER NOT NULL, PRIMARY KEY (encoder, digest))"
            )
        except (OSError, sqlite3.Error) as error:
            msg = f"the text vectors in {self._path} cannot be used ({error}); remove the file, it is made anew"
            raise BatchError(msg) from error
        return db


class CachedEmbedder:
    """An embedder that asks the cache first. `embedded` counts the texts that it had to embed."""

    def __init__(self, embedder: "Embedder", cache: VectorCache | None) -> None:
        self.identity = embedder.identity
        self.embedded = 0
        self._embedder = embedder
        self._cache = cache

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row a text, float32 (len(texts), width), rounded to half precision."""
        by_digest = {sha256(text.encode("utf-8", "surrogatepass")).digest(): text for text in texts}
        known = self._cache.read(self.identity, list(by_digest)) if self._cache else {}
        new = [digest for digest in by_digest if digest not in known]
        for begin in range(0, len(new), _AT_ONCE):
            digests = new[begin : begin + _AT_ONCE]
            vectors = self._embedder.embed([by_digest[digest] for digest in digests]).astype(np.float16)
            if self._cache:
                self._cache.write(self.identity, digests, vectors)
            known.update(zip(digests, vectors, strict=True))
            self.embedded += len(digests)
        if new and self._cache:
            self._cache.trim()
        place = {text: known[digest] for digest, text in by_digest.items()}
        return np.array([place[text] for text in texts], dtype=np.float32)
