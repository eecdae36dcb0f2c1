"""Trains the ranker where the log holds what was shown: trees that add to the log-odds of the response model."""

from collections.abc import Callable, Sequence

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from batch.cases import Cases
from batch.features.matrix import Column
from batch.features.response import RESPONSE
from batch.tables import Floats
from batch.train import Training, feature_names, tree_parameters

_HELD_OUT = 0.25
"""Share of the cases, the latest ones, that no tree sees: they decide whether trees are used."""
_PATIENCE = 20
_CLEAR = 1.96


def base_of(columns: Sequence[Column]) -> str:
    """Return the feature that the trees add to, "" where the model does without it."""
    return RESPONSE if Column("A", RESPONSE) in columns else ""


def train_on_shown(
    cases: Cases, columns: list[Column], training: Training, progress: Callable[[int, int], None]
) -> str:
    """Train on whether the user responded, and return the model in LightGBM's text format.

    Trees beside the response model must earn their place: they are used where they order what users were shown in an
    hour better than it does alone, on held-out cases and by more than chance. Else the model has no tree. `progress`
    hears (trees done, trees).
    """
    base = base_of(columns)
    start = cases.matrix[:, columns.index(Column("A", base))].astype(np.float64) if base else np.zeros(len(cases.grade))
    n_seen = len(cases.group) - int(_HELD_OUT * len(cases.group))
    first_held = int(cases.group[:n_seen].sum())
    seen, held = slice(0, first_held), slice(first_held, None)
    data = _dataset(cases, columns, start, seen)
    booster = lgb.train(
        {**tree_parameters(columns, training), "objective": "binary", "metric": "binary_logloss"},
        data,
        num_boost_round=training.trees,
        valid_sets=[_dataset(cases, columns, start, held, data)] if base else [],
        callbacks=[
            lambda environment: progress(environment.iteration + 1, training.trees),
            *([lgb.early_stopping(_PATIENCE, verbose=False)] if base else []),
        ],
    )
    if not base:
        return booster.model_to_string()
    added = booster.predict(cases.matrix[held], raw_score=True, num_threads=1)
    gain = _order(start[held] + added, cases, n_seen) - _order(start[held], cases, n_seen)
    if gain.mean() > _CLEAR * gain.std() / np.sqrt(len(gain)):
        return booster.model_to_string(num_iteration=booster.best_iteration)
    return booster.model_to_string(start_iteration=booster.current_iteration())


def _dataset(
    cases: Cases, columns: list[Column], start: Floats, rows: slice, reference: lgb.Dataset | None = None
) -> lgb.Dataset:
    return lgb.Dataset(
        cases.matrix[rows],
        label=cases.grade[rows] > 0,
        init_score=start[rows],
        reference=reference,
        feature_name=feature_names(columns),
        params={"max_bin": 255, "verbosity": -1},
        free_raw_data=True,
    )


def _order(scores: Floats, cases: Cases, first_group: int) -> Floats:
    """Return, by group, the share of pairs in the right order (AUC) among what was shown; groups with both kinds."""
    sizes = cases.group[first_group:]
    responded = cases.grade[len(cases.grade) - len(scores) :] > 0
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
