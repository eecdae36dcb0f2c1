"""The best number of trees, found after all have grown, is the one at which LightGBM would have stopped."""

import numpy as np
import pytest

from batch.best_number import best_number
from batch.features.matrix import Column
from batch.grow import PATIENCE, Boosting, Rows, grow_here
from batch.train import Training, tree_parameters

COLUMNS = [Column("A", "useful"), Column("A", "noise"), Column("C", "noise too")]


def rows(seed: int, number: int) -> Rows:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(number, 3)).astype(np.float32)
    start = random.normal(size=number)
    label = random.random(number) < 1 / (1 + np.exp(-start - 0.5 * matrix[:, 0]))
    return Rows(matrix, label, start, np.full(number // 10, 10))


@pytest.mark.parametrize(("trees", "rate"), [(120, 0.2), (PATIENCE // 2, 0.02)], ids=["it stops", "it never stops"])
def test_it_is_what_early_stopping_finds(trees: int, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.best_number._ROWS_AT_ONCE", 300)
    seen, held = rows(1, 1000), rows(2, 1000)
    training = Training(trees, leaves=4, learning_rate=rate, seed=0)
    parameters = {**tree_parameters(COLUMNS, training), "objective": "binary", "metric": "binary_logloss"}
    stopped = grow_here(Boosting(seen, held, ["a", "b", "c"], parameters, trees), lambda _done, _trees: None)
    whole = grow_here(Boosting(seen, None, ["a", "b", "c"], parameters, trees), lambda _done, _trees: None)
    assert whole.num_trees() == trees
    assert (stopped.num_trees() < trees) == (trees > PATIENCE)
    assert best_number(whole, held) == stopped.best_iteration
