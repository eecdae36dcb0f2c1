"""Features of a user and a post together, as of τ: float32, shape (len(users), n_pool) where they need the pair."""

import numpy as np
from numpy.typing import NDArray

from batch.features.registry import feature
from batch.features.view import View
from batch.kernels import dot_rows, sum_rows, sum_sparse_rows
from batch.tables import Floats, Ints

Pairs = NDArray[np.float32]
_PRIOR = 10.0


@feature("knn", "user×post", "A", "similarity to the user's latest posts, by who touched both")
def knn(view: View, users: Ints) -> Pairs:
    """Sum item-kNN similarities over the user's latest posts, the newest counting most."""
    return view.for_users("knn", users, lambda: _knn(view, users))


def _knn(view: View, users: Ints) -> Pairs:
    taste, table = view.taste(users), view.similarity_table()
    out = np.empty((len(users), len(view.pool)), dtype=np.float32)
    if table is not None:
        sum_rows(taste.indptr, taste.indices, taste.data, table, out)
    else:
        of_taste, of_post = ((rows.indptr, rows.indices, rows.data) for rows in (taste, view.similarity_to_pool))
        sum_sparse_rows(*of_taste, *of_post, out)
    return out


@feature("knn_trend", "user×post", "A", "knn × the post's trend with a half-life of a day")
def knn_trend(view: View, users: Ints) -> Pairs:
    """Multiply similarity with recency: alone, similarity recommends what is old."""
    return np.asarray(knn(view, users) * view.trend[view.pool].astype(np.float32), dtype=np.float32)


@feature("text_match", "user×post", "A", "cosine of the post's text and the texts of the user's latest posts")
def _text_match(view: View, users: Ints) -> Pairs:
    text = view.history.text
    if text is None:
        return np.full((len(users), len(view.pool)), np.nan, dtype=np.float32)
    wanted = np.asarray(view.taste(users) @ text, dtype=np.float32)
    norm = np.linalg.norm(wanted, axis=1, keepdims=True)
    unit = np.divide(wanted, norm, out=np.zeros_like(wanted), where=norm > 0)
    by_dim = view.once("text by dimension", lambda: np.ascontiguousarray(text[view.pool].T))
    out = np.zeros((len(users), len(view.pool)), dtype=np.float32)
    dot_rows(unit, by_dim, out)
    return out


@feature("segment_lift", "segment×post", "A", "how many times the average the user's segment touches the post, shrunk")
def _segment_lift(view: View) -> Floats:
    """Compare the last week's first touches; the last row stands for users without a segment, who get 1."""
    history, span = view.history, view.window(168)
    n_segments = len(history.segments.names)
    events, first = history.tables.events, history.first[span]
    segment = history.segments.of_user[events.user[span][first]]
    post = events.post[span][first].astype(np.int64)
    everybody = np.bincount(post, minlength=view.n_posts) + 1.0 / max(view.n_posts, 1)
    share = everybody / everybody.sum()
    known = segment >= 0
    cell = segment[known] * view.n_posts + post[known]
    counts = np.bincount(cell, minlength=n_segments * view.n_posts).reshape(n_segments, view.n_posts)
    total = counts.sum(axis=1, keepdims=True)
    expected = total * share
    lift = (counts + _PRIOR) / (expected + _PRIOR)
    return np.vstack([lift, np.ones((1, view.n_posts))])


@feature(
    "segment_fading",
    "segment×post",
    "A",
    "share of the segment's first touches of the last week, each weighted by (1 + age in hours)^-1.5",
)
def _segment_fading(view: View) -> Floats:
    """Weigh a segment's touches; the last row stands for users without a segment, as if they were one."""
    history, span = view.history, view.window(168)
    n_segments = len(history.segments.names)
    events, first = history.tables.events, history.first[span]
    segment = history.segments.of_user[events.user[span][first]]
    cell = np.where(segment >= 0, segment, n_segments) * view.n_posts + events.post[span][first]
    weight = view.fade(events.at_s[span][first], 1.5)
    faded = np.bincount(cell, weights=weight, minlength=(n_segments + 1) * view.n_posts).reshape(-1, view.n_posts)
    return np.asarray(faded / np.maximum(faded.sum(axis=1, keepdims=True), 1e-9))


@feature("author_match", "user×post", "A", "share of the user's latest posts that are by the post's author")
def _author_match(view: View, users: Ints) -> Pairs:
    author = view.history.tables.posts.author
    if not (author != "").any():
        return np.full((len(users), len(view.pool)), np.nan, dtype=np.float32)
    code = np.unique(author.astype(str), return_inverse=True)[1]
    events, known = view.recent(users, 20)
    touched = code[view.history.tables.events.post[events[known]]]
    counts = np.zeros((len(users), int(code.max()) + 1), dtype=np.float32)
    np.add.at(counts, (np.broadcast_to(np.arange(len(users))[:, None], known.shape)[known], touched), 1.0)
    counts /= np.maximum(known.sum(axis=1, keepdims=True), 1)
    return counts[:, code[view.pool]]
