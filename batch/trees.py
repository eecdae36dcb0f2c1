"""Reads the trees of a LightGBM model from its own text format, and tells which part of the score each belongs to."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.tables import Floats, Ints

MOST_LEAVES = 32
"""Leaves that a mask of 32 bits can tell apart."""

_LARGEST_LEAF = 1e30
"""Beyond it sums of trees would leave what the scorer can add up exactly."""
_CATEGORICAL = 1
_DEFAULT_LEFT = 2
_MISSING_ZERO = 1
_MISSING_NAN = 2


@dataclass(frozen=True)
class Tree:
    """One tree. Nodes count from 0 at the root; a child < 0 is the leaf -child-1.

    feature : int64 (n_nodes,), columns of the model's matrix. threshold : float64 (n_nodes,). nan_left : bool
    (n_nodes,), where a missing value goes. left, right : int64 (n_nodes,). leaf : float64 (n_leaves,).
    """

    feature: Ints
    threshold: Floats
    nan_left: NDArray[np.bool_]
    left: Ints
    right: Ints
    leaf: Floats

    @cached_property
    def ordered(self) -> tuple[Ints, Ints]:
        """Return the leaves in order from left to right.

        First int64 (n_leaves,): the tree's leaf at each place; then int64 (n_nodes, 2): the places from which to which
        (exclusive) the leaves under a node's left child stand.
        """
        order: list[int] = []
        span = np.zeros((len(self.feature), 2), dtype=np.int64)

        def visit(node: int) -> None:
            if node < 0:
                order.append(-node - 1)
                return
            begin = len(order)
            visit(int(self.left[node]))
            span[node] = begin, len(order)
            visit(int(self.right[node]))

        visit(0 if len(self.feature) else -1)
        return np.array(order, dtype=np.int64), span


def parse_trees(model_text: str) -> list[Tree]:
    """Read every tree of a saved booster; raise BatchError at what the scorer cannot reproduce exactly.

    The text may be a stranger's: whatever it says, the compiled loops can walk what is returned.
    """
    head, *blocks = model_text.split("\nTree=")
    lines = head.splitlines()
    if "average_output" in lines or "num_tree_per_iteration=1" not in lines:
        msg = "the trees of the model give an average or several scores, not one sum; train without `rf` and classes"
        raise BatchError(msg)
    try:
        return [_parse(place, block.split("\nend of trees")[0]) for place, block in enumerate(blocks)]
    except (KeyError, ValueError, OverflowError) as error:
        msg = f"the trees of the model cannot be read ({error!r:.200}); train a new one"
        raise BatchError(msg) from error


def _parse(place: int, block: str) -> Tree:
    fields = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
    if int(fields.get("is_linear", "0")) or int(fields.get("num_cat", "0")):
        msg = f"tree {place} is linear or splits by category, which the scorer cannot do; train without"
        raise BatchError(msg)
    leaf = _numbers(fields["leaf_value"])
    if not len(leaf) or not (np.abs(leaf) <= _LARGEST_LEAF).all():  # a NaN is not
        msg = f"tree {place} has no leaves, or leaves that are no numbers up to {_LARGEST_LEAF:g}"
        raise ValueError(msg)
    if len(leaf) > MOST_LEAVES:
        msg = f"tree {place} has {len(leaf)} leaves, at most {MOST_LEAVES} are supported; set a smaller `leaves`"
        raise BatchError(msg)
    if len(leaf) == 1:
        empty = np.zeros(0, dtype=np.int64)
        return Tree(empty, np.zeros(0), np.zeros(0, dtype=bool), empty, empty, leaf)
    kind = integers(fields["decision_type"])
    missing = (kind >> 2) & 3
    threshold = _numbers(fields["threshold"])
    if (missing == _MISSING_ZERO).any() or (kind & _CATEGORICAL).any():
        msg = f"tree {place} treats zero as missing, which is not supported; train with zero_as_missing=false"
        raise BatchError(msg)
    default_left = (kind & _DEFAULT_LEFT) > 0
    nan_left = np.where(missing == _MISSING_NAN, default_left, threshold >= 0)  # else LightGBM reads a NaN as 0
    feature, left, right = (integers(fields[name]) for name in ("split_feature", "left_child", "right_child"))
    tree = Tree(feature, threshold, nan_left, left, right, leaf)
    _refuse_other_shapes(place, tree)
    return tree


def _refuse_other_shapes(place: int, tree: Tree) -> None:
    """Raise ValueError unless the nodes are one binary tree, of which every node and leaf is reached once.

    LightGBM numbers a node after its parent, and that keeps a walk from going round in circles.
    """
    n_nodes = len(tree.leaf) - 1
    arrays = (tree.feature, tree.threshold, tree.nan_left, tree.left, tree.right)
    if any(len(values) != n_nodes for values in arrays):
        msg = f"tree {place} has {len(tree.leaf)} leaves, but not {n_nodes} nodes"
        raise ValueError(msg)
    children = np.concatenate([tree.left, tree.right])
    parents = np.concatenate([np.arange(n_nodes), np.arange(n_nodes)])
    each_once = np.array_equal(np.sort(children), np.setdiff1d(np.arange(-n_nodes - 1, n_nodes), [0]))
    if not each_once or (children[children >= 0] <= parents[children >= 0]).any():
        msg = f"the nodes of tree {place} are no binary tree"
        raise ValueError(msg)
    if (tree.feature < 0).any() or np.isnan(tree.threshold).any():
        msg = f"tree {place} splits by a column below 0, or at no number"
        raise ValueError(msg)


def _numbers(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)


def integers(text: str) -> Ints:
    """Read whole numbers with spaces between; ValueError or OverflowError where one is none of 64 bits."""
    return np.array(text.split(), dtype=np.int64)


def goes_left(tree: Tree, node: int, values: NDArray[np.float32] | Floats) -> NDArray[np.bool_]:
    """Say for each value whether it goes left at `node`, as LightGBM decides."""
    left = values <= tree.threshold[node]  # False for a NaN
    return np.asarray(left | np.isnan(values) if tree.nan_left[node] else left)
