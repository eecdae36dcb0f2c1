"""Trees written anew are the same trees to LightGBM, and broken ones never reach its parser."""

import lightgbm as lgb
import numpy as np
import pytest

from batch.errors import BatchError
from batch.plain_trees import plain_trees
from batch.train import as_booster


@pytest.fixture(scope="module")
def trained() -> tuple[str, np.ndarray]:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(800, 4))
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    target = np.nan_to_num(matrix[:, 0]) * 2 + (np.nan_to_num(matrix[:, 1]) > 0.3) + random.normal(size=800) * 0.1
    parameters = {"objective": "regression", "num_leaves": 12, "verbosity": -1}
    booster = lgb.train(parameters, lgb.Dataset(matrix, target, params={"verbosity": -1}), 15)
    return booster.model_to_string(), matrix


def test_scores_and_contributions_are_the_same(trained: tuple[str, np.ndarray]) -> None:
    text, matrix = trained
    one, same = as_booster(text), as_booster(plain_trees(text, 4))
    assert same.num_trees() == one.num_trees() == 15
    np.testing.assert_array_equal(same.predict(matrix), one.predict(matrix))
    np.testing.assert_array_equal(same.predict(matrix, pred_contrib=True), one.predict(matrix, pred_contrib=True))


def test_a_tree_of_one_leaf_is_written_too() -> None:
    matrix = np.zeros((100, 2))
    parameters = {"objective": "regression", "verbosity": -1}
    text = lgb.train(parameters, lgb.Dataset(matrix, np.ones(100), params={"verbosity": -1}), 1).model_to_string()
    np.testing.assert_array_equal(as_booster(plain_trees(text, 2)).predict(matrix), as_booster(text).predict(matrix))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=", "left_child=7 "),
        ("right_child=", "right_child=99999999999999999999 "),
        ("split_feature=", "split_feature=9 9 9 9 9 9 9 9 9 9 9\nx="),
        ("split_feature=", "split_feature=-1 0 0 0 0 0 0 0 0 0 0\nx="),
        ("leaf_value=", "leaf_value=nan "),
        ("leaf_count=", "leaf_count=-1 "),
        ("internal_count=", "x="),
        ("threshold=", "threshold=nan nan nan nan nan nan nan nan nan nan nan\nx="),
        ("decision_type=", "decision_type=2.5 "),
    ],
)
def test_trees_that_are_none_are_refused_before_lightgbm_sees_them(
    trained: tuple[str, np.ndarray], old: str, new: str
) -> None:
    with pytest.raises(BatchError, match=r"the trees of the model|split by columns"):
        plain_trees(trained[0].replace(old, new, 1), 4)


def test_nodes_that_lead_in_a_circle_are_refused(trained: tuple[str, np.ndarray]) -> None:
    begin = trained[0].index("left_child=") + len("left_child=")
    line = trained[0][begin : trained[0].index("\n", begin)]
    circle = line.replace(" 2 ", " 1 ", 1) if " 2 " in line else "1 " + line.split(" ", 1)[1]
    assert circle != line
    with pytest.raises(BatchError, match="no binary tree"):
        plain_trees(trained[0].replace(line, circle, 1), 4)
