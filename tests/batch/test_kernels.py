"""Picking the best posts of every hour, against the plain way of doing it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.kernels import best_posts, dot_rows


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_posts=st.integers(1, 40),
    top_n=st.integers(1, 12),
    n_hours=st.integers(1, 5),
    levels=st.sampled_from([2, 5, 1_000_000]),
)
def test_slates_are_those_of_a_full_sort(seed: int, n_posts: int, top_n: int, n_hours: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    n_users, n_topics = 4, 3

    def some(*shape: int) -> np.ndarray:  # few levels: many ties, to be broken by order
        return random.integers(0, levels, shape) / 4

    pair, topic_score, hour_score = some(n_users, n_posts), some(n_users, n_topics, n_hours), some(n_posts, n_hours)
    topic = random.integers(0, n_topics, n_posts)
    excluded = [np.flatnonzero(random.random(n_posts) < 0.3) for _ in range(n_users)]
    begin = np.concatenate(([0], np.cumsum([len(posts) for posts in excluded])))
    got = np.empty((n_users, n_hours, top_n), dtype=np.int32)
    best_posts(pair, topic, topic_score, hour_score, np.concatenate(excluded), begin, got)
    for user in range(n_users):
        for hour in range(n_hours):
            scores = (pair[user] + topic_score[user, topic, hour]) + hour_score[:, hour]
            order = [post for post in np.argsort(-scores, kind="stable") if post not in set(excluded[user])][:top_n]
            assert got[user, hour].tolist() == order + [-1] * (top_n - len(order))


def test_products_of_rows_are_the_same_whatever_rows_stand_beside_them() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(70, 64)).astype(np.float32), random.normal(size=(64, 90)).astype(np.float32)
    whole, alone = np.zeros((70, 90), dtype=np.float32), np.zeros((1, 90), dtype=np.float32)
    dot_rows(left, right, whole)
    dot_rows(left[33:34], right, alone)
    np.testing.assert_array_equal(whole[33:34], alone)
    np.testing.assert_allclose(whole, left.astype(np.float64) @ right.astype(np.float64), atol=1e-4)
