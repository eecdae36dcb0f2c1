"""The number of threads is no input: a model and its features are the same for any."""

import threading

import numba
import numpy as np
import pytest
from small_world import make_history, make_tables
from threadpoolctl import threadpool_info, threadpool_limits

from batch.features.registry import FEATURES
from batch.features.view import View
from batch.tables import HOUR_S
from batch.text.tfidf import fit_tfidf
from batch.threads import at_once, side_by_side


def texts(n_posts: int) -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(f"word{word}" for word in random.zipf(1.3, 30) % 900) for _ in range(n_posts)]


def test_text_vectors_and_matches_do_not_depend_on_the_threads_of_blas() -> None:
    written = texts(700)
    events = [(50.0 + post / 100, post % 90, post, "view") for post in range(700)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            encoder = fit_tfidf(written, seed=0)
            assert encoder is not None
            history = make_history(make_tables(events, n_users=90, n_posts=700, text=written), encoder)
            match = FEATURES["text_match"].compute(View(history, 100 * HOUR_S), np.arange(90))
            found.append((encoder.components, match))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize(("layer", "threads"), [("omp", 2), ("tbb", 2), ("workqueue", 1)])
def test_loops_run_side_by_side_only_where_numbas_threads_can_be_shared(
    monkeypatch: pytest.MonkeyPatch, layer: str, threads: int
) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr("batch.threads.threading_layer", lambda: layer)
    assert at_once() == threads


def test_what_one_of_several_tasks_raises_is_raised() -> None:
    done = []
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: done.append(1), lambda: 1 // 0, lambda: done.append(2)])
    assert 1 in done


def test_blas_keeps_to_one_thread_while_a_task_beside_lifts_its_own_limit() -> None:
    lifted, seen = threading.Event(), list[int]()

    def brief() -> None:
        with threadpool_limits(1, "blas"):
            pass
        lifted.set()

    def long() -> None:
        lifted.wait(60)
        seen.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")

    with threadpool_limits(2, "blas"):
        side_by_side([brief, long])
    assert set(seen) == {1}
