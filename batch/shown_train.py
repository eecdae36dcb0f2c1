"""Trains the ranker where the log holds what was shown: trees that add to the log-odds of the response model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from batch.cases import Cases
from batch.features.matrix import Column
from batch.features.response import RESPONSE
from batch.grow import Boosting, Grower, Rows, grow_here
from batch.tables import Floats, Ints
from batch.train import Training, feature_names, tree_parameters

_HELD_OUT = 0.25
"""Share of the cases, the latest ones, that no tree sees: they decide whether trees are used, and which columns."""
_CLEAR = 1.96


def base_of(columns: Sequence[Column]) -> str:
    """Return the feature that the trees add to, "" where the model does without it."""
    return RESPONSE if Column("A", RESPONSE) in columns else ""


def train_on_shown(
    cases: Cases,
    columns: list[Column],
    training: Training,
    progress: Callable[[int, int], None],
    grow: Grower = grow_here,
) -> tuple[str, list[Column]]:
    """Train on whether the user responded; return the model in LightGBM's text format, and the columns that it uses.

    What is added to the response model must earn its place, on held-out cases and by more than chance. Columns of
    pairs, which take most of the time of scoring, do where trees with them make what happened likelier than trees
    without. Trees do where they order what users were shown in an hour better than the response model alone; else the
    model has no tree. `progress` hears (trees done, trees).
    """
    base = base_of(columns)
    start = cases.matrix[:, columns.index(Column("A", base))].astype(np.float64) if base else np.zeros(len(cases.grade))
    split = _Split(cases, columns, start)
    if not base:
        return grow(split.boosting(training), progress).model_to_string(), columns
    with_pairs = _fitted(split, training, progress, grow)
    without = _fitted(split.without_pairs(), training, progress, grow)
    better = with_pairs if _is_clear(without.surprise() - with_pairs.surprise()) else without
    return better.text(), better.columns


@dataclass(frozen=True)
class _Split:
    """Cases that trees see, and the latest ones, held out. start : what the trees add to; float64 (n_rows,)."""

    cases: Cases
    columns: list[Column]
    start: Floats

    @property
    def seen(self) -> Rows:
        """Return the rows that trees see."""
        return self._rows(slice(0, self._first_held), self.cases.group[: self._n_seen])

    @property
    def held(self) -> Rows:
        """Return the rows that they do not see."""
        return self._rows(slice(self._first_held, None), self.cases.group[self._n_seen :])

    @property
    def _n_seen(self) -> int:
        return len(self.cases.group) - int(_HELD_OUT * len(self.cases.group))

    @property
    def _first_held(self) -> int:
        return int(self.cases.group[: self._n_seen].sum())

    def without_pairs(self) -> "_Split":
        """Return the same without the columns of user and post together."""
        kept = [at for at, column in enumerate(self.columns) if column.axes != "user×post"]
        fewer = replace(self.cases, matrix=np.ascontiguousarray(self.cases.matrix[:, kept]))
        return _Split(fewer, [self.columns[at] for at in kept], self.start)

    def boosting(self, training: Training, *, judged: bool = False) -> Boosting:
        """Return the trees to grow; if `judged`, as many as held-out cases say that help."""
        parameters = {**tree_parameters(self.columns, training), "objective": "binary", "metric": "binary_logloss"}
        held = self.held if judged else None
        return Boosting(self.seen, held, feature_names(self.columns), parameters, training.trees)

    def _rows(self, rows: slice, group: Ints) -> Rows:
        return Rows(self.cases.matrix[rows], self.cases.grade[rows] > 0, self.start[rows], group[group > 0])


@dataclass(frozen=True)
class _Fitted:
    """Trees, and what they say of held-out cases, of which `held.start` is without them, `after` with; (n_held,)."""

    columns: list[Column]
    booster: lgb.Booster
    held: Rows
    after: Floats

    def text(self) -> str:
        """Return the model: the best trees, or none where they do not help."""
        held = self.held.label, self.held.group
        gain = right_pairs(self.after, *held) - right_pairs(self.held.start, *held)
        if _is_clear(gain):
            return str(self.booster.model_to_string(num_iteration=self.booster.best_iteration))
        return str(self.booster.model_to_string(start_iteration=self.booster.current_iteration()))

    def surprise(self) -> Floats:
        """Return minus the log-likelihood of each held-out group; (n_groups,)."""
        group = np.repeat(np.arange(len(self.held.group)), self.held.group)
        of_row = np.logaddexp(0, np.where(self.held.label, -self.after, self.after))
        return np.asarray(np.bincount(group, of_row, len(self.held.group)), dtype=np.float64)


def _fitted(split: _Split, training: Training, progress: Callable[[int, int], None], grow: Grower) -> _Fitted:
    booster, held = grow(split.boosting(training, judged=True), progress), split.held
    added = booster.predict(held.matrix, raw_score=True, num_threads=1)
    return _Fitted(split.columns, booster, held, held.start + added)


def _is_clear(gain: Floats) -> bool:
    """Say whether a gain by group is above zero by more than chance."""
    return bool(gain.mean() > _CLEAR * gain.std() / np.sqrt(len(gain)))


def right_pairs(scores: Floats, responded: NDArray[np.bool_], sizes: Ints) -> Floats:
    """Return, by group, the share of pairs in the right order (AUC), for the groups that hold both kinds.

    scores, responded : of rows, those of a group standing together. sizes : of the groups.
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    rank = _ranks(scores, group, sizes)
    positives = np.bincount(group, responded, len(sizes))
    negatives = sizes - positives
    both = (positives > 0) & (negatives > 0)
    above = np.bincount(group, rank * responded, len(sizes)) - positives * (positives - 1) / 2
    return np.asarray((above / np.maximum(positives * negatives, 1))[both])


def _ranks(scores: Floats, group: NDArray[np.int64], sizes: NDArray[np.int64]) -> Floats:
    """Return the rank of each score within its group, from 0, ties in the middle."""
    up, down = (np.lexsort((sign * np.arange(len(scores)), scores, group)) for sign in (1, -1))
    begin = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rank = np.empty((2, len(scores)))
    for row, order in enumerate((up, down)):
        rank[row, order] = np.arange(len(scores)) - begin
    return np.asarray(rank.mean(axis=0))
