"""Scores users × posts × buckets exactly as LightGBM would, as a sum of three small tables (docs/decisions/0003).

score(user, post, bucket) = A(user, post) + B(user, topic, bucket) + C(post, bucket)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.features.matrix import Column, on_axes
from batch.features.registry import FEATURES
from batch.features.view import View
from batch.kernels import spread, walk_trees
from batch.model import Model
from batch.row_kernel import RowPosts, add_rows, row_posts
from batch.tables import Floats, Ints
from batch.threads import side_by_side
from batch.tree_kernel import Masks, PostMasks, TreeTables, add_trees, post_masks, reachable, tree_tables
from batch.trees import Tree, parse_trees

_PAIR_AXES = ("user×post", "user×topic")
_BLOCK_CELLS = 1_000_000
"""Users × posts whose pair features are laid out at a time, to stay near the processor."""


class SeparableScorer:
    """Scores with a trained model at one moment. Bound to a view: its pool is the order of the posts."""

    def __init__(self, model: Model, view: View, buckets: Sequence[int]) -> None:
        self._view = view
        self._base = model.base
        self._columns = model.columns
        self._buckets = buckets
        ready = _prepared(model.trees, model.columns)
        self._of_pairs, self._of_rows, self._b = ready.of_pairs, ready.of_rows, ready.b
        on_axes_alone = {c.name for c in self._columns if c.axes != "user×post" and "bucket" not in c.axes}
        side_by_side(partial(on_axes, view, name) for name in sorted(on_axes_alone))
        self._by_topic = {
            column.name: np.asarray(on_axes(view, column.name), dtype=np.float32)
            for column in {*self._of_pairs.columns, *self._of_rows.columns}
            if column.axes == "user×topic"
        }
        self._pair_posts, self._pair_users = self._pair_masks()
        self._row_posts, self._row_users = self._row_masks()
        self.hour_scores = self._hour_scores(ready.c)
        self._topic_table, self._topic_edges = self._topic_scores()

    def compute_once(self) -> None:
        """Compute what the features of pairs share, several features at a time: their fits use one core each."""
        user = np.zeros(1, dtype=np.int64)
        names = {self._base, *(c.name for c in self._of_pairs.columns if c.axes == "user×post")} - {""}
        side_by_side(partial(FEATURES[name].compute, self._view, user) for name in sorted(names))

    def pair_scores(self, users: Ints) -> Floats:
        """Return A, on top of the model's base; float64, shape (len(users), n_pool)."""
        n_pool = len(self._view.pool)
        out: Floats = np.zeros((len(users), n_pool))
        if self._base:
            out += FEATURES[self._base].compute(self._view, users)
        if self._of_rows.trees and n_pool:
            lift = self._values_by_topic(self._of_rows, users)
            segment = self._segment_rows(users, len(self._row_posts.mask))
            add_rows(self._of_rows.tables, self._row_users[users], lift, segment, self._row_posts, out)
        if self._of_pairs.trees and n_pool:
            self._add_pairs(users, out)
        return out

    def _add_pairs(self, users: Ints, out: Floats) -> None:
        """Add the trees with conditions on pairs, some users at a time, ordered by segment."""
        n_pool = out.shape[1]
        segment = self._segment_rows(users, len(self._pair_posts))
        by_segment = np.argsort(segment, kind="stable")
        size = max(1, min(len(users), _BLOCK_CELLS // n_pool))
        values = np.empty((len(self._of_pairs.columns), size, n_pool), dtype=np.float32)
        for begin in range(0, len(users), size):
            block = by_segment[begin : begin + size]
            self._fill(values[:, : len(block)], users[block])
            scores = np.zeros((len(block), n_pool))
            edges = np.flatnonzero(np.diff(segment[block])) + 1
            for first, last in pairwise([0, *edges.tolist(), len(block)]):
                mask, posts = self._pair_users[users[block[first:last]]], self._pair_posts[segment[block[first]]]
                add_trees(self._of_pairs.tables, mask, posts, values, scores[first:last], first)
            out[block] += scores

    def _segment_rows(self, users: Ints, n_rows: int) -> Ints:
        """Return which masks of posts count for `users`: those of their segment, or the same for all."""
        return self._view.history.segments.of_user[users] % n_rows  # -1, for none, is the last one

    def _values_by_topic(self, trees: "_Trees", users: Ints) -> NDArray[np.float32]:
        """Return the columns user×topic of some trees; float32 (n_columns, len(users), n_topics)."""
        values = [self._by_topic[column.name][users] for column in trees.columns]
        return np.stack(values) if values else np.zeros((0, len(users), 1), dtype=np.float32)

    def topic_scores(self, users: Ints) -> Floats:
        """Return B; float64, shape (len(users), n_topics, n_buckets)."""
        if not self._b:
            return np.zeros((len(users), self._view.history.n_topics, len(self._buckets)))
        lift = np.asarray(on_axes(self._view, "topic_lift"))[users].astype(np.float32)
        place = np.searchsorted(self._topic_edges, lift, side="left")
        return self._topic_table[np.arange(lift.shape[1])[None, :], place]

    def _of_axis(self, trees: "_Trees", axis: str, places: Ints | slice) -> dict[int, NDArray[np.float32]]:
        """Return the features on one axis that any of the trees uses: place in the model's matrix → values."""
        used = sorted({int(feature) for tree in trees.trees for feature in tree.feature})
        return {
            feature: np.asarray(on_axes(self._view, self._columns[feature].name)).astype(np.float32)[..., places]
            for feature in used
            if self._columns[feature].axes == axis
        }

    def _user_masks(self, trees: "_Trees") -> Masks:
        """Return the leaves that stay reachable by user; (n_users, n_trees)."""
        return reachable(trees.trees, trees.tables, self._of_axis(trees, "user", slice(None)), self._view.n_users)

    def _post_masks(self, trees: "_Trees") -> list[Masks]:
        """Return the leaves that stay reachable by post, for each segment's users, the last for users without one.

        One for all users where no tree asks for the segment. Each is of shape (n_pool, n_trees).
        """
        pool = self._view.pool
        of_post = reachable(trees.trees, trees.tables, self._of_axis(trees, "post", pool), len(pool))
        by_segment = self._of_axis(trees, "segment×post", pool)
        if not by_segment:
            return [of_post]
        n_rows = len(next(iter(by_segment.values())))
        return [
            of_post
            & reachable(trees.trees, trees.tables, {at: values[row] for at, values in by_segment.items()}, len(pool))
            for row in range(n_rows)
        ]

    def _pair_masks(self) -> tuple[list[PostMasks], Masks]:
        return [post_masks(masks) for masks in self._post_masks(self._of_pairs)], self._user_masks(self._of_pairs)

    def _row_masks(self) -> tuple[RowPosts, Masks]:
        history = self._view.history
        masks, topic = self._post_masks(self._of_rows), history.topic[self._view.pool]
        return row_posts(masks, topic, history.n_topics), self._user_masks(self._of_rows)

    def _fill(self, values: NDArray[np.float32], users: Ints) -> None:
        """Write the pair features of `users`; float32 (n_pairs, len(users), n_pool)."""
        view = self._view
        for at, column in enumerate(self._of_pairs.columns):
            match column.axes:
                case "user×topic":
                    spread(self._by_topic[column.name], users, view.history.topic[view.pool], values[at])
                case _:
                    values[at] = FEATURES[column.name].compute(view, users)

    def _hour_scores(self, trees: list[Tree]) -> Floats:
        """Return C; float64, shape (n_pool, n_buckets)."""
        view, n_pool = self._view, len(self._view.pool)
        scores = np.zeros((n_pool, len(self._buckets)))
        for hour, bucket in enumerate(self._buckets):
            matrix = np.zeros((n_pool, len(self._columns)), dtype=np.float32)
            for at, column in enumerate(self._columns):
                if column.part == "C":
                    known = on_axes(view, column.name, bucket if "bucket" in column.axes else None)
                    matrix[:, at] = known if column.axes == "bucket" else np.asarray(known)[view.pool]
            scores[:, hour] = walk_trees(matrix.astype(np.float64), *_flat(trees))
        return scores

    def _topic_scores(self) -> tuple[Floats, Floats]:
        """Tabulate B by topic, bin of the one feature that depends on the user, and bucket.

        Between two neighbouring thresholds the trees cannot tell values apart, so one value stands for each bin.
        """
        view, n_topics = self._view, self._view.history.n_topics
        edges = _edges(self._b, self._columns, Column("B", "topic_lift"))
        lift = np.append(edges, np.inf)
        table = np.zeros((n_topics, len(lift), len(self._buckets)))
        for hour, bucket in enumerate(self._buckets):
            matrix = np.zeros((n_topics, len(lift), len(self._columns)))
            for at, column in enumerate(self._columns):
                if column.part == "B" and column.axes == "user×topic":
                    matrix[:, :, at] = lift
                elif column.part == "B":
                    known = on_axes(view, column.name, bucket if "bucket" in column.axes else None)
                    matrix[:, :, at] = np.broadcast_to(np.float32(known), n_topics)[:, None]
            table[:, :, hour] = walk_trees(matrix.reshape(-1, len(self._columns)), *_flat(self._b)).reshape(
                n_topics, -1
            )
        return table, edges


@dataclass(frozen=True)
class _Trees:
    """Some trees of A. columns : those that depend on more than the user, or the post and the segment."""

    trees: list[Tree]
    columns: list[Column]
    tables: TreeTables


@dataclass(frozen=True)
class _Prepared:
    """What scoring takes from the trees alone: those of A with and without conditions on pairs, and of B and C."""

    of_pairs: _Trees
    of_rows: _Trees
    b: list[Tree]
    c: list[Tree]


@lru_cache(maxsize=4)
def _prepared(trees: str, columns: tuple[Column, ...]) -> _Prepared:
    """Read a model's trees, once for all the moments that it scores."""
    parts = _by_part(parse_trees(trees), columns)
    of_pairs, of_rows = list[Tree](), list[Tree]()
    for tree in parts["A"]:
        asks_for_pairs = any(columns[feature].axes == "user×post" for feature in tree.feature)
        (of_pairs if asks_for_pairs else of_rows).append(tree)
    return _Prepared(_laid_out(of_pairs, columns), _laid_out(of_rows, columns), parts["B"], parts["C"])


def _laid_out(trees: list[Tree], columns: Sequence[Column]) -> _Trees:
    used = sorted({int(feature) for tree in trees for feature in tree.feature})
    pairs = [feature for feature in used if columns[feature].axes in _PAIR_AXES]
    return _Trees(trees, [columns[feature] for feature in pairs], tree_tables(trees, pairs))


def _by_part(trees: list[Tree], columns: Sequence[Column]) -> dict[str, list[Tree]]:
    parts: dict[str, list[Tree]] = {"A": [], "B": [], "C": []}
    for place, tree in enumerate(trees):
        used = {columns[feature].part for feature in tree.feature}
        if len(used) > 1:
            msg = f"tree {place} mixes the parts {', '.join(sorted(used))}; train with interaction constraints by part"
            raise BatchError(msg)
        parts[used.pop() if used else "C"].append(tree)
    return parts


def _edges(trees: list[Tree], columns: Sequence[Column], column: Column) -> Floats:
    found = [tree.threshold[[columns[f] == column for f in tree.feature]] for tree in trees if len(tree.feature)]
    return np.unique(np.concatenate(found)) if found else np.zeros(0)


def _flat(trees: list[Tree]) -> tuple[Ints, Ints, Floats, NDArray[np.bool_], Ints, Ints, Ints, Floats]:
    """Lay the trees end to end for `walk_trees`."""
    nodes = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    leaves = np.cumsum([0, *(len(tree.leaf) for tree in trees)])
    no_ints, no_floats = np.zeros(0, dtype=np.int64), np.zeros(0)
    return (
        nodes,
        np.concatenate([no_ints, *(tree.feature for tree in trees)]),
        np.concatenate([no_floats, *(tree.threshold for tree in trees)]),
        np.concatenate([np.zeros(0, dtype=np.bool_), *(tree.nan_left for tree in trees)]),
        np.concatenate([no_ints, *(tree.left for tree in trees)]),
        np.concatenate([no_ints, *(tree.right for tree in trees)]),
        leaves,
        np.concatenate([no_floats, *(tree.leaf for tree in trees)]),
    )
