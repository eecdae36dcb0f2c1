"""Parts that take turns keep trees as separable as constraints do."""

import lightgbm as lgb
import numpy as np

from batch.features.matrix import Column
from batch.train import Training, tree_parameters
from batch.trees import parse_trees
from batch.turns import PartsByTurns

COLUMNS = [*(Column("A", f"a{at}") for at in range(3)), Column("B", "b"), *(Column("C", f"c{at}") for at in range(2))]


def test_each_tree_splits_by_the_columns_of_one_part_and_the_parts_follow_each_other() -> None:
    random = np.random.default_rng(3)
    matrix = random.normal(size=(3000, 6))
    matrix[:, 5] = np.nan  # nothing to gain, whoever's turn it is
    label = np.prod(matrix[:, :5] > -1, axis=1)  # all parts count, and trees of any columns would mix them
    training = Training(trees=12, leaves=8, learning_rate=0.1, seed=0)
    parameters = {**tree_parameters(COLUMNS, training), "objective": "binary", "feature_fraction": 1.0}
    parts = parameters.pop("interaction_constraints")
    booster = lgb.train(
        parameters,
        lgb.Dataset(matrix, label=label, params={"verbosity": -1}),
        num_boost_round=training.trees,
        callbacks=[PartsByTurns(parts, len(COLUMNS))],
    )
    used = [
        "".join(sorted({COLUMNS[at].part for at in tree.feature})) for tree in parse_trees(booster.model_to_string())
    ]
    assert used == ["A", "B", "C"] * 4
