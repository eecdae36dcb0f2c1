"""Where trees are grown: in this process, by LightGBM; batch.grow_dask does it on workers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from batch.tables import Floats, Ints

PATIENCE = 20
"""Trees that may pass without helping held-out rows, before it is held that no further one will."""


@dataclass(frozen=True)
class Rows:
    """What trees are grown or judged on. matrix : float32 (n_rows, n_columns). label : (n_rows,).

    start : float64 (n_rows,), what the trees add to. group : sizes, int64, none 0; the rows of a group stand together.
    """

    matrix: NDArray[np.float32]
    label: NDArray[Any]
    start: Floats
    group: Ints


@dataclass(frozen=True)
class Boosting:
    """Trees to be grown. held : rows that no tree sees, and by which the best number of trees is told.

    names : of the matrix's columns. parameters : LightGBM's; `interaction_constraints` among them.
    """

    rows: Rows
    held: Rows | None
    names: list[str]
    parameters: dict[str, Any]
    trees: int

    @property
    def ranks(self) -> bool:
        """Say whether rows are compared within their groups."""
        return bool(self.parameters["objective"] == "lambdarank")


class Grower(Protocol):
    """Grows trees."""

    def __call__(self, boosting: Boosting, progress: Callable[[int, int], None]) -> lgb.Booster:
        """Return the trees; `best_iteration` says how many are best for the held rows, if there are any.

        `progress` hears (trees done, trees), and may raise to end it.
        """


def grow_here(boosting: Boosting, progress: Callable[[int, int], None]) -> lgb.Booster:
    """Grow trees in this process, until they do not help the held rows any more."""
    data, held = _dataset(boosting, boosting.rows), boosting.held
    return lgb.train(
        boosting.parameters,
        data,
        num_boost_round=boosting.trees,
        valid_sets=[_dataset(boosting, held, data)] if held else [],
        callbacks=[
            lambda environment: progress(environment.iteration + 1, boosting.trees),
            *([lgb.early_stopping(PATIENCE, verbose=False)] if held else []),
        ],
    )


def _dataset(boosting: Boosting, rows: Rows, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(
        rows.matrix,
        label=rows.label,
        group=rows.group if boosting.ranks else None,
        init_score=rows.start,
        reference=reference,
        feature_name=boosting.names,
        params={"max_bin": 255, "verbosity": -1},
        free_raw_data=True,
    )
