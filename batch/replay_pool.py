"""Runs the periods of a replay one after the other, or side by side in processes of their own."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

from batch.tables import Tables

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class _Report(Protocol):
    def stage(self, name: str, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


class _Notes:
    """Keeps the notes of a worker, which has nobody to tell them to."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def stage(self, name: str, done: int, total: int | None) -> None:
        pass

    def note(self, text: str) -> None:
        self.texts.append(text)


def run_side_by_side(
    run: Callable[[Tables, _Task, Any], _Result],
    tables: Tables,
    tasks: Sequence[_Task],
    workers: int,
    report: _Report,
) -> Iterator[tuple[_Task, _Result]]:
    """Yield each task with what `run(tables, task, report)` returns, in the order of the tasks.

    Each worker is a fresh process, which gets the tables once: a fork would copy the locks of threads that it lacks.
    """
    if workers < 2 or len(tasks) < 2:
        for task in tasks:
            yield task, run(tables, task, report)
        return
    workers = min(workers, len(tasks))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (tables, max(1, cores() // workers))) as pool:
        results = pool.map(_run_here, [run] * len(tasks), tasks)
        for done, (task, (result, notes)) in enumerate(zip(tasks, results, strict=True)):
            for text in notes:
                report.note(text)
            report.stage("periods of one model", done + 1, len(tasks))
            yield task, result


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_shared: list[Tables] = []
"""In a worker: the tables, which came with its start."""


def _begin(tables: Tables, threads: int) -> None:
    import lightgbm  # noqa: F401 - loads OpenMP, which is limited below
    import numba
    from threadpoolctl import threadpool_limits

    _shared.append(tables)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    threadpool_limits(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])  # else an idle worker would outlive a killed replay for ever
        os._exit(1)


def _run_here(run: Callable[[Tables, _Task, Any], _Result], task: _Task) -> tuple[_Result, list[str]]:
    notes = _Notes()
    return run(_shared[0], task, notes), notes.texts
