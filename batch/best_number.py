"""How many of a booster's trees are best for rows that none of them saw."""

import lightgbm as lgb
import numpy as np

from batch.grow import PATIENCE, Rows
from batch.tables import Floats
from batch.trees import parse_trees

_ROWS_AT_ONCE = 20_000


def best_number(booster: lgb.Booster, held: Rows) -> int:
    """Return after how many trees the log loss of the held rows is least; those after PATIENCE useless ones count not.

    What `lightgbm.early_stopping` finds while trees grow, found afterwards.
    """
    best, losses = 0, _losses(booster, held)
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best >= PATIENCE:
            break
    return best + 1


def _losses(booster: lgb.Booster, held: Rows) -> Floats:
    """Return the summed log loss of the rows after each tree; float64 (n_trees,)."""
    leaves = [tree.leaf for tree in parse_trees(booster.model_to_string(num_iteration=-1))]
    losses = np.zeros(len(leaves))
    for begin in range(0, len(held.label), _ROWS_AT_ONCE):
        some = slice(begin, begin + _ROWS_AT_ONCE)
        leaf = np.asarray(booster.predict(held.matrix[some], pred_leaf=True, num_iteration=-1, num_threads=1))
        leaf = leaf.reshape(-1, len(leaves))
        added = np.column_stack([of_tree[leaf[:, place]] for place, of_tree in enumerate(leaves)])
        score = held.start[some, None] + np.cumsum(added, axis=1)
        losses += np.logaddexp(0, np.where(held.label[some, None], -score, score)).sum(axis=0)
    return losses
