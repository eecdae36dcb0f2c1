"""Grows trees on the workers of a Dask cluster, by lightgbm.dask (docs/decisions/0041)."""

import concurrent.futures
import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from lightgbm.callback import CallbackEnv
from numpy.typing import NDArray

from batch.best_number import best_number
from batch.dask_cluster import OwnCluster, connected, import_distributed, see_workers
from batch.errors import LostTrainingError
from batch.grow import Boosting, Rows
from batch.turns import PartsByTurns

_LOOK_EVERY_S = 0.5
"""Seconds between two looks at how many trees there are, and whether all workers are."""
_RESTART_S = 30.0
_OF_THIS_RUN = ("machines", "local_listen_port", "machine_list_filename", "feature_contri")
"""Parameters in a model's text that differ from run to run, or are those of the last tree alone."""


@dataclass(frozen=True)
class DaskGrower:
    """Parts the rows by group among all workers, which grow each tree together and keep their rows to themselves.

    The same trees for the same rows and number of workers, other ones than `grow_here` grows. scheduler : as that of
    DaskEngine.
    """

    scheduler: str | OwnCluster
    wait_s: float = 30.0

    def __call__(self, boosting: Boosting, progress: Callable[[int, int], None]) -> lgb.Booster:
        """Grow all trees; held rows stay here, and tell afterwards how many trees are best for them.

        Raises LostTrainingError where workers could not do it, BatchError where there are none.
        """
        distributed = import_distributed()
        with connected(distributed, self.scheduler, self.wait_s) as client:
            see_workers(client, distributed, self.wait_s)
            text = _grow_on_workers(client, distributed, boosting, progress)
        booster = lgb.Booster(model_str=text)
        if boosting.held is not None:
            booster.best_iteration = best_number(booster, boosting.held)
        return booster


def share_of(rows: Rows, worker: int, workers: int) -> Rows:
    """Return a worker's share: every `workers`-th group, so that each worker has some of any time."""
    taken = np.arange(len(rows.group)) % workers == worker
    of_rows = np.repeat(taken, rows.group)
    return Rows(rows.matrix[of_rows], rows.label[of_rows], rows.start[of_rows], rows.group[taken])


def _grow_on_workers(client: Any, distributed: Any, boosting: Boosting, progress: Callable[[int, int], None]) -> str:
    workers = sorted(client.nthreads())[: len(boosting.rows.group)]
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        with _told(client) as heard:
            fitting = pool.submit(_fit, client, boosting, workers, heard.topic)
            while not concurrent.futures.wait([fitting], _LOOK_EVERY_S).done:
                progress(heard.trees, boosting.trees)
                _refuse_loss(client, workers)
            text = _outcome(fitting, client, distributed, workers)
        progress(boosting.trees, boosting.trees)
    except BaseException:
        _free(client, workers)
        raise
    finally:
        pool.shutdown(wait=False)  # what it waits for ends with the client
    return text


def _outcome(fitting: concurrent.futures.Future[str], client: Any, distributed: Any, workers: Sequence[str]) -> str:
    failures = (lgb.basic.LightGBMError, distributed.client.FutureCancelledError, distributed.comm.CommClosedError)
    try:
        return fitting.result()
    except failures as error:
        _refuse_loss(client, workers)
        msg = f"the Dask workers could not grow trees together ({error!r:.200})"
        raise LostTrainingError(msg) from error


def _refuse_loss(client: Any, workers: Sequence[str]) -> None:
    gone = len(set(workers) - set(client.nthreads()))
    if gone:
        msg = f"{gone} of {len(workers)} Dask workers died while they grew trees"
        raise LostTrainingError(msg)


def _fit(client: Any, boosting: Boosting, workers: Sequence[str], topic: str) -> str:
    import dask.array as da
    from lightgbm.dask import DaskLGBMRanker, DaskLGBMRegressor

    lgb.register_logger(_quiet)  # else it prints among what a run says
    parameters = dict(boosting.parameters)
    parts = parameters.pop("interaction_constraints")
    shares = [share_of(boosting.rows, place, len(workers)) for place in range(len(workers))]

    def spread(arrays: list[NDArray[Any]]) -> Any:
        """Lay an array on each worker, so that LightGBM's rank of a worker is the place of its share."""
        return da.concatenate(
            [
                da.from_delayed(
                    client.scatter([array], workers=[worker], direct=True, hash=False)[0], array.shape, array.dtype
                )
                for array, worker in zip(arrays, workers, strict=True)
            ]
        )

    with client.as_current():
        given = {
            "X": spread([share.matrix for share in shares]),
            "y": spread([share.label.astype(np.float32) for share in shares]),
            "init_score": spread([share.start for share in shares]),
            **({"group": spread([share.group for share in shares])} if boosting.ranks else {}),
        }
        del shares
        kind = DaskLGBMRanker if boosting.ranks else DaskLGBMRegressor  # of any objective: parameters name it
        callbacks = [PartsByTurns(parts, len(boosting.names)), _Tell(topic, len(workers))]
        trained = kind(client=_InOrder(client, workers), n_estimators=boosting.trees, **parameters).fit(
            **given, feature_name=boosting.names, callbacks=callbacks
        )
    return _without_addresses(trained.booster_.model_to_string())


class _InOrder:
    """A client that tells who holds what in the order of the workers, by which lightgbm.dask ranks them.

    What it tells comes from a set of random names else, and a rank's rows decide on the bins of some of the columns.
    """

    def __init__(self, client: Any, workers: Sequence[str]) -> None:
        self._client, self._workers = client, workers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def who_has(self, futures: Any) -> dict[str, Any]:
        found = self._client.who_has(futures).items()
        return dict(sorted(found, key=lambda item: self._workers.index(next(iter(item[1])))))


def _without_addresses(text: str) -> str:
    own = tuple(f"[{name}: " for name in _OF_THIS_RUN)
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(own))


def _free(client: Any, workers: Sequence[str]) -> None:
    """End what still trains: it cannot be cancelled, and LightGBM may wait for a lost worker for ever."""
    with contextlib.suppress(OSError, ValueError, TimeoutError):  # gone, too, or not a nanny's to restart
        left = sorted(set(workers) & set(client.nthreads()))
        client.restart_workers(left, timeout=_RESTART_S, raise_for_error=False)


@dataclass
class _Heard:
    topic: str
    trees: int = 0


@contextlib.contextmanager
def _told(client: Any) -> Iterator[_Heard]:
    """Hear on a topic of its own how many trees there are."""
    heard = _Heard(f"hourfeed-trees-{uuid.uuid4()}")

    def hear(event: tuple[float, int]) -> None:
        heard.trees = max(heard.trees, event[1])

    client.subscribe_topic(heard.topic, hear)
    try:
        yield heard
    finally:
        client.unsubscribe_topic(heard.topic)


@dataclass(frozen=True)
class _Tell:
    """A callback of `lightgbm.train`: tells of each tree, and ends a training that not all workers take part in."""

    topic: str
    machines: int
    order = 50

    def __call__(self, environment: CallbackEnv) -> None:
        from distributed import get_worker

        if environment.params["num_machines"] != self.machines:
            msg = f"{environment.params['num_machines']} of {self.machines} workers hold rows"
            raise lgb.basic.LightGBMError(msg)
        get_worker().log_event(self.topic, environment.iteration + 1)


_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.ERROR)
