"""The compiled loop that adds up the trees of part A over users and posts.

Finding a tree's leaf by AND-ing bit masks is QuickScorer's idea (Lucchese et al., SIGIR 2015); here a mask is computed
once on the axis that its conditions live on, and only conditions on pairs are left to the inner loop. Posts come in
tiles: a condition that holds for a whole tile, or for none of it, costs one comparison. Two trees at a time are looked
up in one table of all pairs of their leaves, and what is looked up is whole numbers of a tiny unit: their sum is the
same in any order, so what is the same for a whole tile is added up once.
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

TILE = 1024
"""Posts at a time: their masks and scores stay in the nearest cache."""
_DE_BRUIJN_16, _DE_BRUIJN_32 = 0x09AF, 0x077CB531
"""Multiplied with a lone bit of 16 or 32, its upper bits tell which bit it was, as a perfect hash."""
_AT_ONCE = 4
"""Pairs of trees looked up in one pass over a tile."""
_USERS = 16
"""Users that go through a tile, one after the other, while what is known of its posts is near."""
_BITS_OF_SUM = 62
_LEAST, _MOST = -0x7F800001, 0x7F800000
"""The keys of the infinities, see `_key`."""


@dataclass(frozen=True)
class TreeTables:
    """Trees for `add_trees`, an even number of them; a node is a condition on a pair, ordered by tree.

    begin : int64 (n_trees + 1,), where each tree's nodes begin. column : int64 (n_nodes,), rows of the values.
    threshold : float32 (n_nodes,); what is not above it goes left. nan_left : bool (n_nodes,). right : masks
    (n_nodes,), the leaves that stay reachable on the right. leaf : int64 (n_trees / 2 + 1, leaves²), the sum of a leaf
    of each of two trees, by slots, in units; the last row is zeros. unit : a power of two, so small that rounding the
    leaves to it is less than what float64 loses, so large that no sum of all trees overflows. single : int64
    (n_trees, leaves), each tree's own leaves by slots.
    """

    begin: Ints
    column: Ints
    threshold: NDArray[np.float32]
    nan_left: NDArray[np.bool_]
    right: Masks
    leaf: Ints
    unit: float
    single: Ints


def tree_tables(trees: Sequence[Tree], pairs: Sequence[int]) -> TreeTables:
    """Lay trees out; `pairs` are the features that depend on the pair, in the order of their rows of values."""
    kind = np.dtype(np.uint16 if max((len(tree.leaf) for tree in trees), default=1) <= 16 else np.uint32)
    n_slots = kind.itemsize * 8
    slot = [_slot(1 << place, n_slots) for place in range(n_slots)]
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
    unit = 2.0 ** (np.ceil(np.log2(max(np.abs(leaf).max(axis=1, initial=0).sum(), 1e-9))) - _BITS_OF_SUM)
    units = np.rint(leaf / unit).astype(np.int64)
    of_pairs = (units[::2, :, None] + units[1::2, None, :]).reshape(-1, n_slots**2)
    return TreeTables(
        np.array(begin, dtype=np.int64),
        np.array(column, dtype=np.int64),
        _not_above(np.array(threshold, dtype=np.float64)),
        np.array(nan_left, dtype=bool),
        np.array(right, dtype=kind),
        np.vstack([of_pairs, np.zeros((1, n_slots**2), dtype=np.int64)]),
        float(unit),
        units,
    )


def reachable(trees: Sequence[Tree], tables: TreeTables, values: Mapping[int, Pairs], size: int) -> Masks:
    """Return the leaves that stay reachable by the conditions on some features; (size, n_trees), or one more.

    values : feature → float32 (size,), of so many users or posts.
    """
    kind = tables.right.dtype
    every = kind.type(np.iinfo(kind).max)
    masks = np.full((size, 2 * (len(tables.leaf) - 1)), every)
    for at, tree in enumerate(trees):
        _, span = tree.ordered
        mask = np.full(size, every)  # of one tree, so that its conditions meet it in a row
        for node, feature in enumerate(tree.feature.tolist()):
            if feature in values:
                without = kind.type(_without(span[node], 8 * kind.itemsize))
                mask &= np.where(goes_left(tree, node, values[feature]), every, without)
        masks[:, at] = mask
    return masks


def _without(span: Ints, bits: int) -> int:
    """Return the mask that leaves all places but those in `span`."""
    return ((1 << bits) - 1) & ~((1 << int(span[1])) - (1 << int(span[0])))


def _not_above(threshold: Floats) -> Pairs:
    """Return the largest float32 up to each threshold: all float32 values stand on the same side of both."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.asarray(np.where(near > threshold, below, near) + np.float32(0), dtype=np.float32)  # never -0.0


@dataclass(frozen=True)
class PostMasks:
    """The leaves that stay reachable by post.

    mask : (n_trees, n_posts). some, every : (n_tiles, n_trees), what stays for any post of a tile, and for all.
    """

    mask: Masks
    some: Masks
    every: Masks


def post_masks(by_post: Masks) -> PostMasks:
    """Lay out the masks of posts, as `reachable` returns them, for `add_trees`."""
    mask = np.ascontiguousarray(by_post.T)
    begins = np.arange(0, mask.shape[1], TILE)
    some, every = (np.ascontiguousarray(f.reduceat(mask, begins, axis=1).T) for f in (np.bitwise_or, np.bitwise_and))
    return PostMasks(mask, some, every)


def add_trees(
    tables: TreeTables, user_mask: Masks, posts: PostMasks, values: Pairs, out: Floats, first_user: int = 0
) -> None:
    """Add the sum of the trees' leaf values to `out`.

    user_mask : (n_users, n_trees). values : float32 (n_columns, n, n_posts), contiguous, of which those of the n_users
    from `first_user` on count. out : float64 (n_users, n_posts).
    """
    _add_trees(
        user_mask,
        posts.mask,
        posts.some,
        posts.every,
        tables.begin,
        tables.column,
        tables.threshold,
        _keys(tables.threshold),
        tables.nan_left,
        tables.right,
        tables.leaf,
        tables.unit,
        values,
        values.view(np.int32),
        first_user,
        posts.mask.dtype.itemsize * 8,
        out,
    )


def _keys(threshold: NDArray[np.float32]) -> NDArray[np.int32]:
    pattern = threshold.view(np.int32)
    return pattern ^ ((pattern >> 31) & np.int32(0x7FFFFFFF))


@njit(cache=True, nogil=True, inline="always")
def _key(pattern: Any) -> Any:
    """Order the bit patterns of float32 values as the values, and NaN beyond the infinities."""
    return pattern ^ ((pattern >> np.int32(31)) & np.int32(0x7FFFFFFF))


@njit(cache=True, nogil=True)
def _slot(mask: Any, bits: int) -> Any:
    """Return the place in a table of leaves that stands for the lowest bit of `mask`."""
    if bits == 16:
        return (((mask & (0 - mask)) * _DE_BRUIJN_16) & 0xFFFF) >> 12
    return (((mask & (0 - mask)) * _DE_BRUIJN_32) & 0xFFFFFFFF) >> 27


@njit(cache=True, nogil=True)
def to_slots(mask: Masks, bits: int) -> None:
    """Write each mask's slot in its place; with numbers known to the compiler, which so takes 16 or more at once."""
    if bits == 16:
        for post in range(len(mask)):
            mask[post] = (((mask[post] & (0 - mask[post])) * _DE_BRUIJN_16) & 0xFFFF) >> 12
    else:
        for post in range(len(mask)):
            mask[post] = (((mask[post] & (0 - mask[post])) * _DE_BRUIJN_32) & 0xFFFFFFFF) >> 27


@njit(cache=True, nogil=True)
def _span(keys: NDArray[np.int32]) -> tuple[Any, Any]:
    """Return the least and largest key of the values whose bit patterns these are."""
    least, most = np.int32(2147483647), np.int32(-2147483648)
    for post in range(len(keys)):
        key = np.int32(_key(keys[post]))
        least, most = min(least, key), max(most, key)
    return least, most


@njit(cache=True, nogil=True)
def _start(mask: Masks, of_post: Masks, common: Any) -> None:
    for post in range(len(mask)):
        mask[post] = common & of_post[post]


@njit(cache=True, nogil=True)
def _cut(mask: Masks, row: NDArray[np.float32], most: Any, stays: Any, nan_left: Any) -> None:
    """Leave what stays reachable of a post's leaves where its value is above `most`, or missing and not left."""
    if nan_left:
        for post in range(len(mask)):
            mask[post] = mask[post] & stays if row[post] > most else mask[post]
    else:
        for post in range(len(mask)):
            mask[post] = mask[post] if row[post] <= most else mask[post] & stays


@njit(cache=True, nogil=True)
def _join(slots: NDArray[np.uint16], one: Masks, other: Masks, width: int) -> None:
    for post in range(len(slots)):
        slots[post] = one[post] << width | other[post]


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
    leaf: Ints,
    unit: float,
    values: Pairs,
    patterns: NDArray[np.int32],
    first_user: int,
    bits: int,
    out: Floats,
) -> None:
    n_users, n_posts = out.shape
    n_columns, n_tiles, n_pairs = values.shape[0], some.shape[0], leaf.shape[0] - 1
    width = 4 if bits == 16 else 5
    for chunk in prange((n_users + _USERS - 1) // _USERS):
        masks = np.empty((2, TILE), dtype=post_mask.dtype)
        slots, sums = np.empty((_AT_ONCE, TILE), dtype=np.uint16), np.empty(TILE, dtype=np.int64)
        waiting = np.empty(_AT_ONCE, dtype=np.int64)
        open_nodes, shared = np.empty(bits, dtype=np.int64), np.empty(2, dtype=np.int64)
        low, high = np.empty(n_columns, dtype=np.int32), np.empty(n_columns, dtype=np.int32)
        for tile in range(n_tiles):
            first = tile * TILE
            last = min(first + TILE, n_posts)
            size = last - first
            for user in range(chunk * _USERS, min((chunk + 1) * _USERS, n_users)):
                for at in range(n_columns):
                    low[at], high[at] = _span(patterns[at, first_user + user, first:last])
                of_all = np.int64(0)
                sums[:size] = 0
                n_waiting = 0
                for pair in range(n_pairs):
                    for half in range(2):
                        tree = 2 * pair + half
                        common = np.int64(user_mask[user, tree])
                        least, reachable = common & np.int64(every[tile, tree]), np.int64(some[tile, tree])
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
                            shared[half] = _slot(least, bits)
                            continue
                        shared[half] = -1
                        mask = masks[half, :size]
                        _start(mask, post_mask[tree, first:last], common)
                        for i in range(n_open):
                            node = open_nodes[i]
                            row = values[column[node], first_user + user, first:last]
                            _cut(mask, row, threshold[node], right[node], nan_left[node])
                        to_slots(mask, bits)
                    one, other = shared
                    if one >= 0 and other >= 0:
                        of_all += leaf[pair, one << width | other]
                        continue
                    for half in range(2):
                        if shared[half] >= 0:
                            masks[half, :size] = shared[half]
                    _join(slots[n_waiting, :size], masks[0], masks[1], width)
                    waiting[n_waiting] = pair
                    n_waiting += 1
                    if n_waiting == _AT_ONCE:
                        _look_up(leaf, waiting, slots, sums[:size])
                        n_waiting = 0
                if n_waiting:
                    waiting[n_waiting:] = n_pairs  # zeros
                    slots[n_waiting:, :size] = 0
                    _look_up(leaf, waiting, slots, sums[:size])
                scores = out[user, first:last]
                for post in range(size):
                    scores[post] += np.float64(sums[post] + of_all) * unit


@njit(cache=True, nogil=True)
def _look_up(leaf: Ints, pairs: Ints, slots: NDArray[np.uint16], sums: Ints) -> None:
    """Add the leaves of four pairs of trees to `sums`. slots : (_AT_ONCE, TILE)."""
    one, two, three, four = leaf[pairs[0]], leaf[pairs[1]], leaf[pairs[2]], leaf[pairs[3]]
    for post in range(len(sums)):
        sums[post] += one[slots[0, post]] + two[slots[1, post]] + three[slots[2, post]] + four[slots[3, post]]
