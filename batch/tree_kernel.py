"""The compiled loop that adds up the trees of part A over users and posts.

Finding a tree's leaf by AND-ing bit masks is QuickScorer's idea (Lucchese et al., SIGIR 2015); here a mask is computed
once on the axis that its conditions live on, and only conditions on pairs are left to the inner loop. Posts come in
tiles: a condition that holds for a whole tile, or for none of it, costs one comparison. Two trees at a time are looked
up in one table of all pairs of their leaves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.tables import Floats, Ints
from batch.trees import Tree, goes_left

Masks = NDArray[Any]
"""uint16 or uint32, a bit a leaf."""
Pairs = NDArray[np.float32]

TILE = 256
"""Posts at a time: their masks and scores stay in the nearest cache."""
_DE_BRUIJN = {16: 0x09AF, 32: 0x077CB531}
"""Multiplied with a lone bit of 16 or 32, its upper bits tell which bit it was, as a perfect hash."""
_LEAST, _MOST = -0x7F800001, 0x7F800000
"""The keys of the infinities, see `_key`."""


@dataclass(frozen=True)
class TreeTables:
    """Trees for `add_trees`, an even number of them; a node is a condition on a pair, ordered by tree.

    begin : int64 (n_trees + 1,), where each tree's nodes begin. column : int64 (n_nodes,), rows of the values.
    threshold : float32 (n_nodes,); what is not above it goes left. nan_left : bool (n_nodes,). right : masks
    (n_nodes,), the leaves that stay reachable on the right. leaf : float64 (n_trees / 2, leaves²), the sum of a leaf
    of each of two trees, by slots.
    """

    begin: Ints
    column: Ints
    threshold: NDArray[np.float32]
    nan_left: NDArray[np.bool_]
    right: Masks
    leaf: Floats


def tree_tables(trees: Sequence[Tree], pairs: Sequence[int]) -> TreeTables:
    """Lay trees out; `pairs` are the features that depend on the pair, in the order of their rows of values."""
    kind = np.dtype(np.uint16 if max((len(tree.leaf) for tree in trees), default=1) <= 16 else np.uint32)
    n_slots = kind.itemsize * 8
    slot = [((1 << place) * _DE_BRUIJN[n_slots] % (1 << n_slots)) >> _shift(n_slots) for place in range(n_slots)]
    begin, column, threshold, nan_left, right = [0], list[int](), list[float](), list[bool](), list[int]()
    leaf = np.zeros((len(trees) + len(trees) % 2, n_slots))  # a last tree of zeros makes the number even
    for at, tree in enumerate(trees):
        order, span = tree.ordered
        leaf[at, slot[: len(order)]] = tree.leaf[order]
        for node, feature in enumerate(tree.feature.tolist()):
            if feature in pairs:
                column.append(pairs.index(feature))
                threshold.append(tree.threshold[node])
                nan_left.append(bool(tree.nan_left[node]))
                right.append(_without(span[node], n_slots))
        begin.append(len(column))
    begin += begin[-1:] * (len(trees) % 2)
    return TreeTables(
        np.array(begin, dtype=np.int64),
        np.array(column, dtype=np.int64),
        _not_above(np.array(threshold, dtype=np.float64)),
        np.array(nan_left, dtype=bool),
        np.array(right, dtype=kind),
        (leaf[::2, :, None] + leaf[1::2, None, :]).reshape(-1, n_slots**2),
    )


def reachable(trees: Sequence[Tree], tables: TreeTables, values: Mapping[int, Pairs], size: int) -> Masks:
    """Return the leaves that stay reachable by the conditions on some features; (size, n_trees), or one more.

    values : feature → float32 (size,), of so many users or posts.
    """
    kind = tables.right.dtype
    masks = np.full((size, 2 * len(tables.leaf)), np.iinfo(kind).max, dtype=kind)
    for at, tree in enumerate(trees):
        _, span = tree.ordered
        for node, feature in enumerate(tree.feature.tolist()):
            if feature in values:
                goes_right = ~goes_left(tree, node, values[feature])
                masks[goes_right, at] &= kind.type(_without(span[node], 8 * kind.itemsize))
    return masks


def _without(span: Ints, bits: int) -> int:
    """Return the mask that leaves all places but those in `span`."""
    return ((1 << bits) - 1) & ~((1 << int(span[1])) - (1 << int(span[0])))


def _shift(bits: int) -> int:
    return bits - (bits.bit_length() - 1)


def _not_above(threshold: Floats) -> Pairs:
    """Return the largest float32 up to each threshold: all float32 values stand on the same side of both."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.asarray(np.where(near > threshold, below, near) + np.float32(0), dtype=np.float32)  # never -0.0


def add_trees(tables: TreeTables, user_mask: Masks, post_mask: Masks, values: Pairs, out: Floats) -> None:
    """Add every tree's leaf value to `out`, two trees at a time in their order.

    user_mask : (n_users, n_trees). post_mask : (n_trees, n_posts). values : float32 (n_columns, n_users, n_posts).
    out : float64 (n_users, n_posts).
    """
    bits = post_mask.dtype.itemsize * 8
    begins = np.arange(0, post_mask.shape[1], TILE)
    some, every = (
        np.ascontiguousarray(join.reduceat(post_mask, begins, axis=1).T) for join in (np.bitwise_or, np.bitwise_and)
    )
    _add_trees(
        user_mask,
        post_mask,
        some,
        every,
        tables.begin,
        tables.column,
        tables.threshold,
        _keys(tables.threshold),
        tables.nan_left,
        tables.right,
        tables.leaf,
        values,
        values.view(np.int32),
        _DE_BRUIJN[bits],
        bits,
        _shift(bits),
        out,
    )


def _keys(threshold: NDArray[np.float32]) -> NDArray[np.int32]:
    pattern = threshold.view(np.int32)
    return pattern ^ ((pattern >> 31) & np.int32(0x7FFFFFFF))


@njit(cache=True, nogil=True, inline="always")
def _key(pattern: Any) -> Any:
    """Order the bit patterns of float32 values as the values, and NaN beyond the infinities."""
    return pattern ^ ((pattern >> np.int32(31)) & np.int32(0x7FFFFFFF))


@njit(cache=True, nogil=True, inline="always")
def _slot(mask: Any, de_bruijn: int, bits: int, shift: int) -> Any:
    return (((mask & (0 - mask)) * de_bruijn) & ((1 << bits) - 1)) >> shift


@njit(cache=True, nogil=True)
def _slots_of(  # noqa: C901 - the compiler wants one loop nest, and arrays rather than objects
    tree: int,
    tile: int,
    of_user: Any,
    post_mask: Masks,
    some: Masks,
    every: Masks,
    begin: Ints,
    column: Ints,
    threshold: NDArray[np.float32],
    limit: NDArray[np.int32],
    nan_left: NDArray[np.bool_],
    right: Masks,
    values: Pairs,
    user: int,
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    de_bruijn: int,
    bits: int,
    shift: int,
    open_nodes: Ints,
    mask: Masks,
) -> Any:
    """Write each post's slot into `mask` and return -1, or return the slot that all posts of the tile share.

    low, high : least and largest key of each column in the tile. limit : keys of the thresholds. open_nodes : scratch.
    """
    common, least = of_user, of_user & np.int64(every[tile, tree])
    reachable = np.int64(some[tile, tree])
    n_open = 0
    for node in range(begin[tree], begin[tree + 1]):
        stays = np.int64(right[node])
        if common & reachable & ~stays == 0:
            continue
        at = column[node]
        has_nan = low[at] < _LEAST or high[at] > _MOST
        if not has_nan and high[at] <= limit[node]:
            continue
        least &= stays
        if not has_nan and low[at] > limit[node]:
            common &= stays
        else:
            open_nodes[n_open] = node
            n_open += 1
    reachable &= common
    if reachable & (0 - reachable) == least & (0 - least):
        return _slot(least, de_bruijn, bits, shift)
    first, n_posts = tile * TILE, len(mask)
    of_post = post_mask[tree, first : first + n_posts]
    for post in range(n_posts):
        mask[post] = common & of_post[post]
    for i in range(n_open):
        node = open_nodes[i]
        row = values[column[node], user, first : first + n_posts]
        stays, most = right[node], threshold[node]
        if nan_left[node]:
            for post in range(n_posts):
                mask[post] = mask[post] & stays if row[post] > most else mask[post]
        else:
            for post in range(n_posts):
                mask[post] = mask[post] if row[post] <= most else mask[post] & stays
    for post in range(n_posts):
        mask[post] = _slot(np.int64(mask[post]), de_bruijn, bits, shift)
    return -1


@njit(parallel=True, cache=True, nogil=True)
def _add_trees(  # noqa: C901
    user_mask: Masks,
    post_mask: Masks,
    some: Masks,
    every: Masks,
    begin: Ints,
    column: Ints,
    threshold: NDArray[np.float32],
    limit: NDArray[np.int32],
    nan_left: NDArray[np.bool_],
    right: Masks,
    leaf: Floats,
    values: Pairs,
    patterns: NDArray[np.int32],
    de_bruijn: int,
    bits: int,
    shift: int,
    out: Floats,
) -> None:
    n_users, n_posts = out.shape
    n_columns, n_tiles = values.shape[0], some.shape[0]
    width = bits - shift
    for user in prange(n_users):
        masks = np.empty((2, TILE), dtype=post_mask.dtype)
        open_nodes, shared = np.empty(bits, dtype=np.int64), np.empty(2, dtype=np.int64)
        low, high = np.empty(n_columns, dtype=np.int32), np.empty(n_columns, dtype=np.int32)
        for tile in range(n_tiles):
            first = tile * TILE
            size = min(TILE, n_posts - first)
            row = out[user, first : first + size]
            for at in range(n_columns):
                least, most = np.int32(2147483647), np.int32(-2147483648)
                of_tile = patterns[at, user, first : first + size]
                for post in range(size):
                    key = np.int32(_key(of_tile[post]))
                    least, most = min(least, key), max(most, key)
                low[at], high[at] = least, most
            for pair in range(len(leaf)):
                for half in range(2):
                    tree = 2 * pair + half
                    of_user = np.int64(user_mask[user, tree])
                    shared[half] = _slots_of(
                        tree, tile, of_user, post_mask, some, every, begin, column, threshold, limit, nan_left, right,
                        values, user, low, high, de_bruijn, bits, shift, open_nodes, masks[half, :size],
                    )  # fmt: skip
                one, other = shared
                sums = leaf[pair]
                if one >= 0 and other >= 0:
                    value = sums[one << width | other]
                    for post in range(size):
                        row[post] += value
                elif one >= 0:
                    for post in range(size):
                        row[post] += sums[one << width | np.int64(masks[1, post])]
                elif other >= 0:
                    for post in range(size):
                        row[post] += sums[np.int64(masks[0, post]) << width | other]
                else:
                    for post in range(size):
                        row[post] += sums[np.int64(masks[0, post]) << width | np.int64(masks[1, post])]
