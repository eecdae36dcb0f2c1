"""Trains the ranker: LambdaRank (Burges, MSR-TR-2010-82) by LightGBM, with trees that stay within one part each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from batch.cases import Cases
from batch.features.matrix import Column
from batch.grow import Boosting, Grower, Rows, grow_here

_FEWEST_ROWS = 500


@dataclass(frozen=True)
class Training:
    """How the trees are grown."""

    trees: int
    leaves: int
    learning_rate: float
    seed: int


def enough(grade: NDArray[np.int32]) -> bool:
    """Say whether cases of these grades are anything to learn from."""
    return len(grade) >= _FEWEST_ROWS and bool(grade.any()) and not grade.all()


def train_trees(
    cases: Cases,
    columns: list[Column],
    training: Training,
    progress: Callable[[int, int], None],
    grow: Grower = grow_here,
) -> tuple[str, list[Column]]:
    """Train; return the model in LightGBM's text format, and its columns. `progress` hears (trees done, trees).

    Popular posts are drawn more often as untouched ones, so that pairs tell of the ratio of being touched to being
    drawn. The trees start from minus the logarithm of the latter, and are left with the former, which is what orders a
    whole catalogue (the correction of sampled softmax: Bengio and Senécal, IEEE Transactions on Neural Networks 2008).
    """
    parameters = {
        **tree_parameters(columns, training),
        "objective": "lambdarank",
        "lambdarank_truncation_level": 20,
        "label_gain": [2.0**grade - 1 for grade in range(10)],
    }
    rows = Rows(cases.matrix, cases.grade, -np.log(cases.chance), cases.group[cases.group > 0])
    boosting = Boosting(rows, None, feature_names(columns), parameters, training.trees)
    return grow(boosting, progress).model_to_string(), columns


def tree_parameters(columns: list[Column], training: Training) -> dict[str, Any]:
    """Return how LightGBM grows trees, whatever they are for: each within one part.

    Each tree sees a part of the rows and columns, and counts for little: what one tree learns by chance, others do not
    (stochastic gradient boosting: Friedman, Computational Statistics & Data Analysis 2002).
    """
    parts = [[at for at, column in enumerate(columns) if column.part == part] for part in ("A", "B", "C")]
    return {
        "num_leaves": training.leaves,
        "learning_rate": training.learning_rate,
        "min_data_in_leaf": 50,
        "max_bin": 255,
        "feature_fraction": 0.4,
        "bagging_fraction": 0.6,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "interaction_constraints": [part for part in parts if part],
        "seed": training.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def feature_names(columns: list[Column]) -> list[str]:
    """Return names that LightGBM takes; what they stand for is kept in the model's list of columns."""
    names = [f"{column.part}.{column.name}" for column in columns]
    plain = ["".join(c if c.isalnum() or c in "._" else "_" for c in name) for name in names]
    return [f"{at}.{name}" for at, name in enumerate(plain)] if len(set(plain)) < len(plain) else plain


def as_booster(trees: str) -> lgb.Booster:
    """Return the booster of a saved model: the reference that the scorer must agree with."""
    return lgb.Booster(model_str=trees)
