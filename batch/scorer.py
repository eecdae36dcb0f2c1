"""Scores users × posts × buckets exactly as LightGBM would, as a sum of three small tables (docs/decisions/0003).

score(user, post, bucket) = A(user, post) + B(user, topic, bucket) + C(post, bucket)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.features.matrix import Column, on_axes
from batch.features.registry import FEATURES
from batch.features.view import View
from batch.kernels import add_trees, bin_rows, hash_slot, walk_trees
from batch.model import Model
from batch.tables import Floats, Ints
from batch.trees import MOST_LEAVES, Tree, goes_left, parse_trees

_PAIR_AXES = {"user×post", "segment×post", "user×topic"}
_NAN_BIN = 255
_ALL = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class _PairColumn:
    """A column of part A that depends on the pair. edges : float64, ascending, the thresholds of all trees on it."""

    column: Column
    edges: Floats


class SeparableScorer:
    """Scores with a trained model at one moment. Bound to a view: its pool is the order of the posts."""

    def __init__(self, model: Model, view: View, buckets: Sequence[int]) -> None:
        self._view = view
        self._base = model.base
        self._columns = model.columns
        self._buckets = buckets
        ready = _prepared(model.trees, model.columns)
        self._a, self._b = ready.a, ready.b
        self._pairs, self._leaf, self._tables = ready.pairs, ready.leaf, ready.tables
        self._post_mask = self._masks("post", view.pool)
        self._small_bins = self._bins_on_axes()
        self.hour_scores = self._hour_scores(ready.c)
        self._topic_table, self._topic_edges = self._topic_scores()

    def pair_scores(self, users: Ints) -> Floats:
        """Return A, on top of the model's base; float64, shape (len(users), n_pool)."""
        out = np.zeros((len(users), len(self._view.pool)))
        if self._base:
            out += FEATURES[self._base].compute(self._view, users)
        if self._a:
            user_mask = np.ascontiguousarray(self._masks("user", users).T)
            add_trees(user_mask, self._post_mask, self._leaf, *self._tables, self._bins(users), out)
        return out

    def topic_scores(self, users: Ints) -> Floats:
        """Return B; float64, shape (len(users), n_topics, n_buckets)."""
        if not self._b:
            return np.zeros((len(users), self._view.history.n_topics, len(self._buckets)))
        lift = np.asarray(on_axes(self._view, "topic_lift"))[users].astype(np.float32)
        place = np.searchsorted(self._topic_edges, lift, side="left")
        return self._topic_table[np.arange(lift.shape[1])[None, :], place]

    def _masks(self, axis: str, chosen: Ints) -> NDArray[np.uint32]:
        """Return the leaves that stay reachable, by tree of A and chosen user or post; (n_trees, len(chosen))."""
        masks = np.full((len(self._a), len(chosen)), _ALL, dtype=np.uint32)
        known: dict[int, NDArray[np.float32]] = {}
        for at, tree in enumerate(self._a):
            _, span = tree.ordered
            for node, feature in enumerate(tree.feature.tolist()):
                column = self._columns[feature]
                if column.axes != axis:
                    continue
                if feature not in known:
                    known[feature] = np.asarray(on_axes(self._view, column.name))[chosen].astype(np.float32)
                masks[at] &= np.where(goes_left(tree, node, known[feature]), _ALL, _without(span[node]))
        return masks

    def _bins_on_axes(self) -> dict[str, NDArray[np.uint8]]:
        """Bin what lives on segment×post and user×topic there, where it is small."""
        found = {}
        for pair in self._pairs:
            if pair.column.axes != "user×post":
                values = np.asarray(on_axes(self._view, pair.column.name), dtype=np.float32)
                if pair.column.axes == "segment×post":
                    values = np.ascontiguousarray(values[:, self._view.pool])
                found[pair.column.name] = _binned(values, pair.edges)
        return found

    def _bins(self, users: Ints) -> NDArray[np.uint8]:
        view = self._view
        bins = np.empty((len(self._pairs), len(users), len(view.pool)), dtype=np.uint8)
        for at, pair in enumerate(self._pairs):
            name = pair.column.name
            match pair.column.axes:
                case "segment×post":
                    bins[at] = self._small_bins[name][view.history.segments.of_user[users]]
                case "user×topic":
                    bins[at] = self._small_bins[name][users][:, view.history.topic[view.pool]]
                case _:
                    values = np.ascontiguousarray(FEATURES[name].compute(view, users), dtype=np.float32)
                    bin_rows(values, pair.edges, bins[at])
        return bins

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
class _Prepared:
    """What scoring takes from the trees alone. a, b, c : trees by part. leaf, tables : as in `add_trees`."""

    a: list[Tree]
    b: list[Tree]
    c: list[Tree]
    pairs: list[_PairColumn]
    leaf: Floats
    tables: tuple[Ints, Ints, Ints, NDArray[np.uint32]]


@lru_cache(maxsize=4)
def _prepared(trees: str, columns: tuple[Column, ...]) -> _Prepared:
    """Read a model's trees, once for all the moments that it scores."""
    parts = _by_part(parse_trees(trees), columns)
    pairs = _pair_columns(parts["A"], columns)
    leaf = np.array([_leaf_slots(tree) for tree in parts["A"]]).reshape(len(parts["A"]), MOST_LEAVES)
    return _Prepared(parts["A"], parts["B"], parts["C"], pairs, leaf, _lookup_tables(parts["A"], pairs, columns))


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


def _pair_columns(trees: list[Tree], columns: Sequence[Column]) -> list[_PairColumn]:
    used = sorted({int(feature) for tree in trees for feature in tree.feature})
    wanted = [columns[feature] for feature in used if columns[feature].axes in _PAIR_AXES]
    found = [_PairColumn(column, _edges(trees, columns, column)) for column in wanted]
    for pair in found:
        if len(pair.edges) >= _NAN_BIN:
            msg = (
                f"{pair.column.name} has {len(pair.edges)} thresholds, more than {_NAN_BIN - 1}: train with max_bin=255"
            )
            raise BatchError(msg)
    return found


def _lookup_tables(
    trees: list[Tree], pairs: list[_PairColumn], columns: Sequence[Column]
) -> tuple[Ints, Ints, Ints, NDArray[np.uint32]]:
    """Return, for `add_trees`: tree_begin, tree_feature, tree_table, table."""
    begin, feature_of, table_at = [0], list[int](), list[int]()
    tables: list[NDArray[np.uint32]] = []
    for tree in trees:
        _, span = tree.ordered
        for at, pair in enumerate(pairs):
            nodes = [node for node, f in enumerate(tree.feature) if columns[f] == pair.column]
            if not nodes:
                continue
            feature_of.append(at)
            table_at.append(256 * len(tables))
            masks = np.full(256, 0xFFFFFFFF, dtype=np.uint32)
            values = np.full(256, np.inf)
            values[: len(pair.edges)] = pair.edges
            values[_NAN_BIN] = np.nan
            for node in nodes:
                masks[~goes_left(tree, node, values)] &= _without(span[node])
            tables.append(masks)
        begin.append(len(feature_of))
    table = np.concatenate(tables) if tables else np.zeros(1, dtype=np.uint32)
    return np.array(begin), np.array(feature_of, dtype=np.int64), np.array(table_at, dtype=np.int64), table


def _binned(values: NDArray[np.float32], edges: Floats) -> NDArray[np.uint8]:
    out = np.empty(values.shape, dtype=np.uint8)
    bin_rows(values, edges, out)
    return out


def _without(span: Ints) -> np.uint32:
    """Return the mask that leaves all places but those in `span`."""
    return np.uint32(0xFFFFFFFF & ~((1 << int(span[1])) - (1 << int(span[0]))))


def _leaf_slots(tree: Tree) -> Floats:
    slots = np.zeros(MOST_LEAVES)
    for place, leaf in enumerate(tree.ordered[0]):
        slots[hash_slot(place)] = tree.leaf[leaf]
    return slots


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
