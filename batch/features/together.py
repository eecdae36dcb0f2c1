"""Which posts were touched by the same users: the counts behind item-based collaborative filtering."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse

from batch.passes import Places, order_by
from batch.tables import Ints

_SQUARE = 64
_AT_ONCE = 1 << 20
"""Posts of users that all rows go through before the next ones: 2 MB, which stay near the processor."""


def touched_together(user_begin: Ints, post: NDArray[np.int32], n_posts: int) -> sparse.csr_array:
    """Count the users who touched two posts; sparse float32 (n_posts, n_posts), columns ascending.

    post : the posts of each user, each once, one user after the other; user_begin : int64 (n_users + 1,), where each
    user's begin. A row is added up where it fits into the cache (Gustavson, ACM TOMS 1978).
    """
    user = np.repeat(np.arange(len(user_begin) - 1, dtype=np.int32), np.diff(user_begin))
    post_begin = np.concatenate(([0], np.cumsum(np.bincount(post, minlength=n_posts))))
    of_posts = user[order_by(post, post_begin)]
    sizes = np.zeros(n_posts, dtype=np.int64)
    _count_columns(user_begin, post, post_begin, of_posts, sizes)
    row_begin = np.concatenate(([0], np.cumsum(sizes)))
    index_type = np.int32 if row_begin[-1] < 2**31 else np.int64
    columns, counts = np.empty(row_begin[-1], dtype=index_type), np.empty(row_begin[-1], dtype=np.float32)
    _fill_columns(user_begin, post, post_begin, of_posts, row_begin, columns, counts)
    return sparse.csr_array((counts, columns, row_begin.astype(index_type)), shape=(n_posts, n_posts))


def table_together(user_begin: Ints, post: NDArray[np.int32], n_posts: int) -> NDArray[np.float32]:
    """Count as touched_together does, into a table; float32 (n_posts, n_posts). It is exact up to 2^24 users.

    Two posts are counted once, in the row of the first one, and the other half is mirrored.
    """
    ascending = np.empty_like(post)
    _sort_each(user_begin, post, ascending)
    post_begin = np.concatenate(([0], np.cumsum(np.bincount(post, minlength=n_posts))))
    by_post = order_by(ascending, post_begin)
    end = np.repeat(user_begin[1:].astype(by_post.dtype), np.diff(user_begin))[by_post]
    narrow = ascending.astype(np.uint16) if n_posts <= 1 << 16 else ascending
    table = np.zeros((n_posts, n_posts), dtype=np.float32)
    _fill_upper(narrow, post_begin, by_post, end, _AT_ONCE, table)
    _mirror(table)
    return table


@njit(parallel=True, cache=True, nogil=True)
def _sort_each(begin: Ints, values: NDArray[np.int32], out: NDArray[np.int32]) -> None:
    for row in prange(len(begin) - 1):
        out[begin[row] : begin[row + 1]] = np.sort(values[begin[row] : begin[row + 1]])


@njit(parallel=True, cache=True, nogil=True)
def _fill_upper(
    post: NDArray[np.integer], post_begin: Ints, by_post: Places, end: Places, at_once: int, table: NDArray[np.float32]
) -> None:
    """Count into row and column ≥ row.

    post : ascending for each user. by_post : places in `post`, by post; end : where the posts of their users end.
    """
    n_posts = len(table)
    done = post_begin[:-1].copy()
    for stop in range(at_once, len(post) + at_once, at_once):
        for turn in prange(n_posts):
            # First rows have most to do: threads, which take turns in a row, share them by going from both ends.
            row = turn // 2 if turn % 2 == 0 else n_posts - 1 - turn // 2
            counts = table[row]
            i = done[row]
            while i < post_begin[row + 1] and by_post[i] < stop:
                for j in range(by_post[i], end[i]):
                    counts[post[j]] += 1
                i += 1
            done[row] = i


@njit(parallel=True, cache=True, nogil=True)
def _mirror(table: NDArray[np.float32]) -> None:
    """Copy the upper half to the lower one, by squares that fit into the cache."""
    size = len(table)
    for square in prange((size + _SQUARE - 1) // _SQUARE):
        for first in range(0, (square + 1) * _SQUARE, _SQUARE):
            for row in range(square * _SQUARE, min((square + 1) * _SQUARE, size)):
                for column in range(first, min(first + _SQUARE, row)):
                    table[row, column] = table[column, row]


@njit(parallel=True, cache=True, nogil=True)
def _count_columns(
    user_begin: Ints, post: NDArray[np.int32], post_begin: Ints, user: NDArray[np.int32], sizes: Ints
) -> None:
    n_posts = len(sizes)
    for row in prange(n_posts):
        met = np.zeros(n_posts, dtype=np.bool_)
        for i in range(post_begin[row], post_begin[row + 1]):
            for j in range(user_begin[user[i]], user_begin[user[i] + 1]):
                met[post[j]] = True
        sizes[row] = met.sum()


@njit(parallel=True, cache=True, nogil=True)
def _fill_columns(
    user_begin: Ints,
    post: NDArray[np.int32],
    post_begin: Ints,
    user: NDArray[np.int32],
    row_begin: Ints,
    columns: NDArray[np.integer],
    counts: NDArray[np.float32],
) -> None:
    n_posts = len(row_begin) - 1
    for row in prange(n_posts):
        together = np.zeros(n_posts, dtype=np.int32)
        for i in range(post_begin[row], post_begin[row + 1]):
            for j in range(user_begin[user[i]], user_begin[user[i] + 1]):
                together[post[j]] += 1
        place = row_begin[row]
        for column in range(n_posts):
            if together[column] > 0:
                columns[place] = column
                counts[place] = together[column]
                place += 1
