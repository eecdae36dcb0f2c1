"""Compiled loops: picking each hour's best posts, walking trees, and what features need."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.passes import Places
from batch.tables import Ints

_ROWS, _TILE = 16, 512
"""Users and posts at a time, where each user goes through a table as long as the pool."""


@njit(cache=True, nogil=True, inline="always")
def sift(scores: NDArray[np.float64], posts: NDArray[np.int32], size: int) -> None:
    """Restore the heap whose worst entry stands at 0 after that entry was replaced."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            return
        right = child + 1
        if right < size and (
            scores[right] < scores[child] or (scores[right] == scores[child] and posts[right] > posts[child])
        ):
            child = right
        if scores[place] < scores[child] or (scores[place] == scores[child] and posts[place] > posts[child]):
            return
        scores[place], scores[child] = scores[child], scores[place]
        posts[place], posts[child] = posts[child], posts[place]
        place = child


@njit(parallel=True, cache=True, nogil=True)
def best_posts(  # noqa: C901 - one loop nest, which the compiler wants in one place
    pair: NDArray[np.float64],
    topic: NDArray[np.int64],
    topic_score: NDArray[np.float64],
    hour_score: NDArray[np.float64],
    excluded: NDArray[np.int64],
    excluded_begin: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Pick the best posts of every user and hour by pair + topic_score + hour_score, exactly.

    pair : (n_users, n_posts). topic : (n_posts,). topic_score : (n_users, n_topics, n_hours). hour_score :
    (n_posts, n_hours). Posts excluded[excluded_begin[u] : excluded_begin[u + 1]] are left out for user u. out :
    (n_users, n_hours, top_n), best first, -1 where there is no further post; of equal scores the first in order wins.

    A post whose best hour stays under the top_n-th best of the worst hours can be in no slate, so the hours are gone
    through for the remaining few alone. Sums are rounded monotonically, so this drops no post that belongs in.
    """
    n_users, n_posts = pair.shape
    n_topics, n_hours = topic_score.shape[1], hour_score.shape[1]
    top_n = out.shape[2]
    worst_hour = np.empty(n_posts)
    best_hour = np.empty(n_posts)
    for post in range(n_posts):
        worst_hour[post] = hour_score[post].min()
        best_hour[post] = hour_score[post].max()
    for user in prange(n_users):
        worst_topic = np.empty(n_topics)
        best_topic = np.empty(n_topics)
        for t in range(n_topics):
            worst_topic[t] = topic_score[user, t].min()
            best_topic[t] = topic_score[user, t].max()
        low, high = np.empty(n_posts), np.empty(n_posts)
        for post in range(n_posts):
            low[post] = (pair[user, post] + worst_topic[topic[post]]) + worst_hour[post]
            high[post] = (pair[user, post] + best_topic[topic[post]]) + best_hour[post]
        for i in range(excluded_begin[user], excluded_begin[user + 1]):
            low[excluded[i]] = high[excluded[i]] = -np.inf

        heap = np.full(top_n, -np.inf)
        held = np.full(top_n, np.int32(2147483647), dtype=np.int32)
        for post in range(n_posts):
            if low[post] > heap[0]:
                heap[0] = low[post]
                held[0] = post
                sift(heap, held, top_n)
        floor = max(heap[0], -1.7976931348623157e308)  # what is left out stands below it
        n_kept = 0
        kept = np.empty(n_posts, dtype=np.int32)
        for place in range(top_n):  # first what stands highest, so that few of the others enter a heap
            if held[place] != 2147483647:
                high[held[place]] = -np.inf
                kept[n_kept] = held[place]
                n_kept += 1
        for post in range(n_posts):
            if high[post] >= floor:
                kept[n_kept] = post
                n_kept += 1

        heaps = np.full((n_hours, top_n), -np.inf)
        holds = np.full((n_hours, top_n), np.int32(2147483647), dtype=np.int32)
        scores = np.empty(n_hours)
        for i in range(n_kept):
            post = kept[i]
            of_pair, of_topic, of_hour = pair[user, post], topic_score[user, topic[post]], hour_score[post]
            for hour in range(n_hours):
                scores[hour] = (of_pair + of_topic[hour]) + of_hour[hour]
            for hour in range(n_hours):
                if scores[hour] > heaps[hour, 0] or (scores[hour] == heaps[hour, 0] and post < holds[hour, 0]):
                    heaps[hour, 0] = scores[hour]
                    holds[hour, 0] = post
                    sift(heaps[hour], holds[hour], top_n)
        for hour in range(n_hours):
            heap, held = heaps[hour], holds[hour]
            for place in range(top_n - 1, -1, -1):
                out[user, hour, place] = held[0] if held[0] != 2147483647 else -1
                heap[0] = np.inf
                held[0] = -1
                sift(heap, held, top_n)


@njit(parallel=True, cache=True, nogil=True)
def dot_rows(left: NDArray[np.float32], right: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Add left @ right to `out`, term by term in the order of the dimensions; (n_users, dims), (dims, n_posts).

    BLAS is quicker, but rounds otherwise with other numbers of threads or rows, and a model would see it. Some rows
    at a time go through a tile of posts, which so stays near the processor.
    """
    n_users, n_dims = left.shape
    n_posts = right.shape[1]
    for chunk in prange((n_users + _ROWS - 1) // _ROWS):
        for first in range(0, n_posts, _TILE):
            last = min(first + _TILE, n_posts)
            for user in range(chunk * _ROWS, min((chunk + 1) * _ROWS, n_users)):
                row = out[user, first:last]
                for dim in range(0, n_dims - 3, 4):
                    w0, w1, w2, w3 = left[user, dim], left[user, dim + 1], left[user, dim + 2], left[user, dim + 3]
                    r0, r1 = right[dim, first:last], right[dim + 1, first:last]
                    r2, r3 = right[dim + 2, first:last], right[dim + 3, first:last]
                    for post in range(len(row)):
                        row[post] = (((row[post] + w0 * r0[post]) + w1 * r1[post]) + w2 * r2[post]) + w3 * r3[post]
                for dim in range(n_dims - n_dims % 4, n_dims):
                    weight, of_dim = left[user, dim], right[dim, first:last]
                    for post in range(len(row)):
                        row[post] += weight * of_dim[post]


@njit(parallel=True, cache=True, nogil=True)
def sum_rows(
    begin: Ints, other: Ints, weight: NDArray[np.float64], rows: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write the sparse array (begin, other, weight) times `rows` into `out`; summed as float64, in order."""
    n_posts = out.shape[1]
    for user in prange(out.shape[0]):
        total = np.empty(_TILE)
        for first in range(0, n_posts, _TILE):
            size = min(_TILE, n_posts - first)
            total[:] = 0
            for i in range(begin[user], begin[user + 1]):
                of_other, row = weight[i], rows[other[i], first : first + size]
                for post in range(size):
                    total[post] += of_other * np.float64(row[post])
            for post in range(size):
                out[user, first + post] = np.float32(total[post])


@njit(parallel=True, cache=True, nogil=True)
def sum_sparse_rows(
    begin: Ints,
    other: Ints,
    weight: NDArray[np.float64],
    row_begin: Ints,
    column: Ints,
    value: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Do as sum_rows, with rows that are sparse themselves: (row_begin, column, value)."""
    for user in prange(out.shape[0]):
        total = np.zeros(out.shape[1])
        for i in range(begin[user], begin[user + 1]):
            for at in range(row_begin[other[i]], row_begin[other[i] + 1]):
                total[column[at]] += weight[i] * np.float64(value[at])
        for post in range(len(total)):
            out[user, post] = np.float32(total[post])


@njit(parallel=True, cache=True, nogil=True)
def spread(table: NDArray[np.float32], row: Ints, column: Ints, out: NDArray[np.float32]) -> None:
    """Write table[row][:, column] into `out`, (len(row), len(column))."""
    for user in prange(out.shape[0]):
        values = table[row[user]]
        for post in range(out.shape[1]):
            out[user, post] = values[column[post]]


@njit(parallel=True, cache=True, nogil=True)
def add_effects(
    by_topic: NDArray[np.float64],
    topic: Ints,
    of_user: NDArray[np.float64],
    of_post: NDArray[np.float64],
    user_factors: NDArray[np.float64],
    post_factors: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Write of_user + by_topic + of_post + the product of the factors into `out`, summed as float64 in this order.

    by_topic : (n_users, n_topics). topic : (n_posts,). user_factors : (n_users, k); post_factors : (k, n_posts).
    """
    for user in prange(out.shape[0]):
        total = np.empty(out.shape[1])
        taste = of_user[user] + by_topic[user]
        for post in range(len(total)):
            total[post] = taste[topic[post]] + of_post[post]
        for factor in range(len(post_factors)):
            weight = user_factors[user, factor]
            for post in range(len(total)):
                total[post] += weight * post_factors[factor, post]
        for post in range(len(total)):
            out[user, post] = np.float32(total[post])


@njit(parallel=True, cache=True, nogil=True)
def to_cosines(begin: Ints, column: Ints, value: NDArray[np.float32], norm: NDArray[np.float64]) -> None:
    """Divide a sparse square matrix by the norms of row and column, in place, and write 0 on its diagonal."""
    for row in prange(len(begin) - 1):
        for at in range(begin[row], begin[row + 1]):
            other = column[at]
            value[at] = 0.0 if other == row else np.float32(value[at] / (norm[row] * norm[other]))


@njit(parallel=True, cache=True, nogil=True)
def cosines_of_table(
    together: NDArray[np.float32], norm: NDArray[np.float64], pool: Ints, out: NDArray[np.float32]
) -> None:
    """Write what to_cosines says of the columns of the pool; out : (n_posts, n_pool), together : (n_posts, n_posts)."""
    for row in prange(len(together)):
        for place in range(len(pool)):
            other = pool[place]
            cosine = together[row, other] / (norm[row] * norm[other])
            out[row, place] = 0.0 if other == row else np.float32(cosine)


@njit(parallel=True, cache=True, nogil=True)
def walk_trees(
    matrix: NDArray[np.float64],
    node_begin: NDArray[np.int64],
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    nan_left: NDArray[np.bool_],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    leaf_begin: NDArray[np.int64],
    leaf: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the sum of the trees' leaf values for each row of `matrix`, by walking down; (n_rows,)."""
    scores = np.zeros(matrix.shape[0])
    for row in prange(matrix.shape[0]):
        total = 0.0
        for tree in range(len(node_begin) - 1):
            base = node_begin[tree]
            node = 0 if node_begin[tree + 1] > base else -1
            while node >= 0:
                value = np.float64(matrix[row, feature[base + node]])
                goes_left = nan_left[base + node] if np.isnan(value) else value <= threshold[base + node]
                node = left[base + node] if goes_left else right[base + node]
            total += leaf[leaf_begin[tree] - node - 1]
        scores[row] = total
    return scores


@njit(parallel=True, cache=True, nogil=True)
def count_since(
    at_s: Ints,
    order: Places,
    begin: Ints,
    end: Ints,
    since: NDArray[np.float64],
    column: Ints,
    span_s: int,
    out: NDArray[np.float32],
) -> None:
    """Write how many of a row's times are at or after each of `since`; with span_s > 0, in how many spans they fall.

    Row r owns at_s[order[begin[r] : end[r]]], ascending. since : (n_columns,), descending; its place i belongs to
    column[i] of `out`, (n_rows, n_columns). A span counts as a whole, also for what began within it.
    """
    for row in prange(out.shape[0]):
        at = end[row] - 1
        count = 0
        last = np.int64(-1)
        for i in range(len(since)):
            while at >= begin[row]:
                time = at_s[order[at]]
                span = time // span_s if span_s else np.int64(0)
                upto = (span + 1) * span_s - 1 if span_s else time
                if upto < since[i]:
                    break
                if span_s == 0 or span != last:
                    count += 1
                    last = span
                at -= 1
            out[row, column[i]] = count
