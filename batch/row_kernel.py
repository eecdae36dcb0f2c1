"""The compiled loop that adds up trees of part A without conditions on pairs: a tree gives few kinds of users a row.

Such a tree can tell users apart, posts, segments × posts, and users × topics. Among users of one segment and posts of
one topic the masks of users (see tree_kernel.py) are few, a dozen for most trees. For each of them the leaves of a tile
of posts are looked up once, as a row of numbers, and each user adds up the rows that are the user's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.tables import Floats, Ints
from batch.tree_kernel import Masks, TreeTables, to_slots

TILE = 256
"""Posts at a time: the rows of all trees stay in the second cache."""
_USERS = 256
"""Users of a segment at a time; more share more rows, and take more room."""


@dataclass(frozen=True)
class RowPosts:
    """The leaves that stay reachable by post, posts being ordered by topic.

    order : int64 (n_posts,). begin : int64 (n_topics + 1,), where each topic's begin. mask : (n_segments, n_trees,
    n_posts). some : (n_segments, n_trees, n_topics), what stays for any post of a topic.
    """

    order: Ints
    begin: Ints
    mask: Masks
    some: Masks


def row_posts(by_segment: Sequence[Masks], topic: Ints, n_topics: int) -> RowPosts:
    """Lay out masks, as `reachable` returns them for posts, one array a segment. topic : (n_posts,)."""
    order = np.argsort(topic, kind="stable")
    begin = np.concatenate(([0], np.cumsum(np.bincount(topic, minlength=n_topics))))
    mask = np.ascontiguousarray(np.stack(by_segment)[:, order].transpose(0, 2, 1))
    some = np.zeros((*mask.shape[:2], n_topics), dtype=mask.dtype)
    for at, (first, last) in enumerate(pairwise(begin)):
        some[:, :, at] = np.bitwise_or.reduce(mask[:, :, first:last], axis=2)
    return RowPosts(order, begin, mask, some)


def add_rows(
    tables: TreeTables, user_mask: Masks, lift: NDArray[np.float32], segment: Ints, posts: RowPosts, out: Floats
) -> None:
    """Add the sum of the trees' leaf values to `out`, (n_users, n_posts).

    user_mask : (n_users, n_trees). lift : float32 (n_columns, n_users, n_topics), the rows of values of the tables'
    nodes. segment : int64 (n_users,), rows of `posts.mask`; users may come in any order.
    """
    order = np.argsort(segment, kind="stable")
    edges = np.concatenate(([0], np.flatnonzero(np.diff(segment[order])) + 1, [len(order)]))
    begins = [np.arange(first, last, _USERS) for first, last in pairwise(edges)]
    _add_rows(
        user_mask,
        lift,
        (tables.begin, tables.column, tables.threshold, tables.nan_left, tables.right),
        tables.single,
        tables.unit,
        (posts.order, posts.begin, posts.mask, posts.some),
        order,
        segment[order],
        np.append(np.concatenate(begins), len(order)).astype(np.int64),
        posts.mask.dtype.itemsize * 8,
        out,
    )


@njit(cache=True, nogil=True, inline="always")
def _mask_at(
    mask: Any,
    tree: int,
    nodes: tuple[Ints, Ints, NDArray[np.float32], NDArray[np.bool_], Masks],
    lift: NDArray[np.float32],
    user: int,
    topic: int,
) -> Any:
    """Leave of a user's mask what stays reachable by the user's values at a topic."""
    begin, column, threshold, nan_left, right = nodes
    for node in range(begin[tree], begin[tree + 1]):
        value = lift[column[node], user, topic]
        goes_left = nan_left[node] if np.isnan(value) else value <= threshold[node]
        if not goes_left:
            mask &= np.int64(right[node])
    return mask


@njit(cache=True, nogil=True)
def _write_row(row: Ints, mask: Any, of_posts: Masks, leaf: Ints, slots: Masks, bits: int) -> None:
    """Look up the leaves of one tree for the users of one mask. slots : room to work, (len(row),)."""
    for post in range(len(row)):
        slots[post] = of_posts[post] & mask
    to_slots(slots, bits)
    for post in range(len(row)):
        row[post] = leaf[slots[post]]


@njit(cache=True, nogil=True)
def _sum_rows(rows: Ints, own: NDArray[np.int32], n_own: int, total: Ints) -> None:
    """Add some rows to `total`, four at a time."""
    size = len(total)
    for at in range(0, n_own - 3, 4):
        one, two, three, four = rows[own[at]], rows[own[at + 1]], rows[own[at + 2]], rows[own[at + 3]]
        for post in range(size):
            total[post] += (one[post] + two[post]) + (three[post] + four[post])
    for at in range(n_own - n_own % 4, n_own):
        one = rows[own[at]]
        for post in range(size):
            total[post] += one[post]


@njit(parallel=True, cache=True, nogil=True)
def _add_rows(  # noqa: C901 - one loop nest
    user_mask: Masks,
    lift: NDArray[np.float32],
    nodes: tuple[Ints, Ints, NDArray[np.float32], NDArray[np.bool_], Masks],
    leaf: Ints,
    unit: float,
    posts: tuple[Ints, Ints, Masks, Masks],
    order: Ints,
    segment: Ints,
    begin: Ints,
    bits: int,
    out: Floats,
) -> None:
    """Go through groups of users: those of `order` from begin[g] to begin[g + 1], all of one segment."""
    post_order, topic_begin, post_mask, some = posts
    n_trees = leaf.shape[0]
    for group in prange(len(begin) - 1):
        users = order[begin[group] : begin[group + 1]]
        of_posts, of_any = post_mask[segment[begin[group]]], some[segment[begin[group]]]
        own = np.empty((len(users), n_trees), dtype=np.int32)
        row_mask = np.empty(len(users) * n_trees, dtype=post_mask.dtype)
        slots = np.empty(TILE, dtype=post_mask.dtype)
        row_tree = np.empty(len(users) * n_trees, dtype=np.int64)
        rows = np.empty((n_trees, TILE), dtype=np.int64)
        common, total = np.empty(TILE, dtype=np.int64), np.empty(TILE, dtype=np.int64)
        for topic in range(len(topic_begin) - 1):
            if topic_begin[topic] == topic_begin[topic + 1]:
                continue
            n_rows = n_shared = n_own = 0
            for tree in range(n_trees):
                first = n_rows
                for at in range(len(users)):
                    mask = _mask_at(np.int64(user_mask[users[at], tree]), tree, nodes, lift, users[at], topic)
                    mask &= np.int64(of_any[tree, topic])
                    row = first
                    while row < n_rows and row_mask[row] != mask:
                        row += 1
                    if row == n_rows:
                        row_mask[row], row_tree[row] = mask, tree
                        n_rows += 1
                    own[at, n_own] = row
                if n_rows == first + 1:  # one row for all: it goes to the end of the list, to be added up once
                    row_mask[len(row_mask) - 1 - n_shared] = row_mask[first]
                    row_tree[len(row_mask) - 1 - n_shared] = tree
                    n_shared += 1
                    n_rows = first
                else:
                    n_own += 1
            if len(rows) < n_rows:
                rows = np.empty((n_rows, TILE), dtype=np.int64)
            for begin_tile in range(topic_begin[topic], topic_begin[topic + 1], TILE):
                end_tile = min(begin_tile + TILE, topic_begin[topic + 1])
                size = end_tile - begin_tile
                for row in range(n_rows):
                    tree = row_tree[row]
                    cut = of_posts[tree, begin_tile:end_tile]
                    _write_row(rows[row, :size], row_mask[row], cut, leaf[tree], slots[:size], bits)
                common[:] = 0
                for shared in range(len(row_mask) - n_shared, len(row_mask)):
                    tree = row_tree[shared]
                    cut = of_posts[tree, begin_tile:end_tile]
                    _write_row(total[:size], row_mask[shared], cut, leaf[tree], slots[:size], bits)
                    for post in range(size):
                        common[post] += total[post]
                for at in range(len(users)):
                    total[:] = common
                    _sum_rows(rows, own[at], n_own, total)
                    scores = out[users[at]]
                    for post in range(size):
                        scores[post_order[begin_tile + post]] += np.float64(total[post]) * unit
