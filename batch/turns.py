"""Keeps trees separable where LightGBM's `interaction_constraints` cannot: parts take turns, a tree each."""

from collections.abc import Sequence
from typing import Any

from lightgbm.callback import CallbackEnv


class PartsByTurns:
    """A callback of `lightgbm.train`: before each tree, lets only the columns of one part gain anything by a split.

    With `interaction_constraints`, a tree's first split decides on its part; here the parts follow each other, as
    single features do in cyclic boosting (Lou, Caruana and Gehrke, KDD 2012). For LightGBM's data-parallel learner,
    which ends by std::bad_alloc where it is given constraints (docs/decisions/0041).
    """

    before_iteration = True
    order = 0

    def __init__(self, parts: Sequence[Sequence[int]], n_columns: int) -> None:
        self._gains = [[float(column in part) for column in range(n_columns)] for part in map(set, parts)]

    def __call__(self, environment: CallbackEnv) -> None:
        """Leave the next part alone with its columns."""
        gains = self._gains[environment.iteration % len(self._gains)]
        booster: Any = environment.model  # lightgbm.cv would give one that is many
        booster.reset_parameter({"feature_contri": gains})
