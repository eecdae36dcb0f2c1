"""A text is embedded once: whoever asks, however often, and whatever happened to the run that embedded it."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.text.cache import CachedEmbedder, VectorCache

FORK = multiprocessing.get_context("fork")


class Lengths:
    """Embeds a text by its length; `asked` holds what it was asked for."""

    def __init__(self, identity: str = "lengths") -> None:
        self.identity = identity
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), 1 / 3] for text in texts], dtype=np.float32)


def test_only_texts_that_no_run_has_met_are_embedded_and_each_once(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "folder" / "vectors.db")
    first, second = Lengths(), Lengths()
    CachedEmbedder(first, cache).embed(["a", "bb", "a"])
    run = CachedEmbedder(second, cache)
    vectors = run.embed(["bb", "ccc", "a", "ccc"])
    assert (first.asked, second.asked, run.embedded) == (["a", "bb"], ["ccc"], 1)
    np.testing.assert_array_equal(vectors[:, 0], [2, 3, 1, 3])


def test_vectors_are_the_same_fresh_known_and_without_a_cache(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "vectors.db")
    fresh, known = (CachedEmbedder(Lengths(), cache).embed(["a", "bb"]) for _ in range(2))
    without = CachedEmbedder(Lengths(), None).embed(["a", "bb"])
    np.testing.assert_array_equal(fresh, known)
    np.testing.assert_array_equal(fresh, without)
    assert fresh.dtype == np.float32
    assert fresh[0, 1] == np.float32(np.float16(1 / 3))


def test_another_encoder_does_not_get_the_vectors_of_the_first(tmp_path: Path) -> None:
    cache, other = VectorCache(tmp_path / "vectors.db"), Lengths("other")
    CachedEmbedder(Lengths(), cache).embed(["a"])
    CachedEmbedder(other, cache).embed(["a"])
    assert other.asked == ["a"]


def test_beyond_the_bound_those_used_longest_ago_go_and_none_of_today(tmp_path: Path) -> None:
    path = tmp_path / "vectors.db"

    def embed(day: int, *texts: str) -> list[str]:
        embedder = Lengths()
        CachedEmbedder(embedder, VectorCache(path, most=3, today=day)).embed(texts)
        return embedder.asked

    embed(1, "a", "b")
    embed(2, "c")
    embed(3, "a")
    assert embed(4, "d") == ["d"]
    assert embed(4, "a", "c", "d") == []
    assert embed(4, "b") == ["b"]  # it was used on day 1 last, when all others were used later
    assert embed(4, "b", "a", "c", "d") == []  # more than three, but all of today


def _embed_many(path: Path, begin: int) -> None:
    CachedEmbedder(Lengths(), VectorCache(path)).embed(["x" * n for n in range(begin, begin + 500)])


def test_two_processes_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.db"
    runs = [FORK.Process(target=_embed_many, args=(path, begin)) for begin in (1, 251)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0]
    after = Lengths()
    vectors = CachedEmbedder(after, VectorCache(path)).embed(["x" * n for n in range(1, 751)])
    assert after.asked == []
    np.testing.assert_array_equal(vectors[:, 0], np.arange(1, 751))


class Hanging(Lengths):
    """Embeds two batches, says so, and waits to be killed."""

    def __init__(self, reached: Event) -> None:
        super().__init__()
        self._reached = reached

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(self.asked) == 128:
            self._reached.set()
            signal.pause()
        return super().embed(texts)


def _embed_and_hang(path: Path, reached: Event) -> None:
    CachedEmbedder(Hanging(reached), VectorCache(path)).embed([f"text {n}" for n in range(300)])


def test_a_killed_run_leaves_what_it_had_embedded(tmp_path: Path) -> None:
    path, reached = tmp_path / "vectors.db", FORK.Event()
    run = FORK.Process(target=_embed_and_hang, args=(path, reached))
    run.start()
    assert reached.wait(60)
    assert run.pid is not None
    os.kill(run.pid, signal.SIGKILL)
    run.join(60)
    after = Lengths()
    CachedEmbedder(after, VectorCache(path)).embed([f"text {n}" for n in range(300)])
    assert after.asked == [f"text {n}" for n in range(128, 300)]


def test_a_file_that_is_no_database_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "vectors.db"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    with pytest.raises(BatchError, match=str(path)):
        CachedEmbedder(Lengths(), VectorCache(path)).embed(["a"])
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT 1 FROM vectors")
