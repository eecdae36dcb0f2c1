"""Writes a model's trees anew for LightGBM, whose own parser trusts what it reads: a wrong length ends the process.

Only what batch.trees has read and checked is written, and the numbers of training rows, which contributions of
features are weighed with. The form is that of LightGBM's Tree::ToString and GBDT::SaveModelToString.
"""

from collections.abc import Iterable

import numpy as np

from batch.errors import BatchError
from batch.tables import Ints
from batch.trees import Tree, integers, parse_trees

_MOST_ROWS = 2**31 - 1


def plain_trees(model_text: str, n_columns: int) -> str:
    """Return a text of the same trees that LightGBM reads safely; BatchError where they cannot be read."""
    blocks = model_text.split("\nTree=")[1:]
    trees = parse_trees(model_text)
    if any((tree.feature >= n_columns).any() for tree in trees):
        raise BatchError("the trees of the model split by columns that it has not; train a new one")
    try:
        written = [
            f"Tree={place}\n{_block(tree, block)}\n\n"
            for place, (tree, block) in enumerate(zip(trees, blocks, strict=True))
        ]
    except (KeyError, ValueError, OverflowError) as error:
        msg = f"the trees of the model cannot be read ({error!r:.200}); train a new one"
        raise BatchError(msg) from error
    head = {
        "version": "v4",
        "num_class": "1",
        "num_tree_per_iteration": "1",
        "label_index": "0",
        "max_feature_idx": str(n_columns - 1),
        "objective": "regression",
        "feature_names": " ".join(f"Column_{at}" for at in range(n_columns)),
        "feature_infos": " ".join(["none"] * n_columns),
        "tree_sizes": " ".join(str(len(block)) for block in written),
    }
    return f"tree\n{_lines(head.items())}\n\n{''.join(written)}end of trees\n"


def _block(tree: Tree, block: str) -> str:
    n_leaves = len(tree.leaf)
    fields = {"num_leaves": str(n_leaves), "num_cat": "0"}
    if n_leaves > 1:
        given = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
        rows = {"leaf_count": _rows(given, "leaf_count", n_leaves)}
        rows["internal_count"] = _rows(given, "internal_count", n_leaves - 1)
        fields |= {
            "split_feature": _joined(tree.feature.tolist()),
            "threshold": _joined(tree.threshold.tolist()),
            "decision_type": _joined(integers(given["decision_type"]).tolist()),
            "left_child": _joined(tree.left.tolist()),
            "right_child": _joined(tree.right.tolist()),
            **{name: _joined(counts.tolist()) for name, counts in rows.items()},
        }
    return _lines({**fields, "leaf_value": _joined(tree.leaf.tolist()), "is_linear": "0", "shrinkage": "1"}.items())


def _rows(given: dict[str, str], name: str, wanted: int) -> Ints:
    counts = integers(given[name])
    if len(counts) != wanted or ((counts < 0) | (counts > _MOST_ROWS)).any():
        msg = f"{name} is no list of {wanted} numbers of rows"
        raise ValueError(msg)
    return np.maximum(counts, 1)  # a node that no row reached would be divided by


def _joined(values: Iterable[float]) -> str:
    return " ".join(map(repr, values))


def _lines(fields: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{name}={value}" for name, value in fields)
