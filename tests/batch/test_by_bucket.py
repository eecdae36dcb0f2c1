import numpy as np

from batch.by_bucket import sum_by_bucket, told_by_bucket

POSTS = np.array([[[0, 1], [1, 2]], [[3, -1], [3, -1]]], dtype=np.int32)
"""Two users, two buckets, slates of up to two of five posts."""


def test_coverage_counts_posts_in_any_slate_and_overlap_those_that_stay() -> None:
    told = told_by_bucket([sum_by_bucket(POSTS, 0, 5)], n_pool=5)
    assert told["coverage"] == [0.6, 0.6]  # posts 0 1 3, then 1 2 3
    assert told["overlap"] == [0.0, 0.5]  # of the first user alone: post 1 stays, 2 is new


def test_parts_of_users_add_up_to_the_whole_whatever_their_sizes() -> None:
    random = np.random.default_rng(0)
    posts = np.argsort(random.random((90, 4, 30)), axis=2)[:, :, :6].astype(np.int32)
    whole = told_by_bucket([sum_by_bucket(posts, 0, 30)], n_pool=30)
    parts = [sum_by_bucket(posts[a:b], a, 30) for a, b in ((0, 7), (7, 41), (41, 90))]
    assert told_by_bucket(parts, n_pool=30) == whole
    assert 0.1 < whole["overlap"][1] < 0.3  # six of thirty at random: a fifth


def test_an_empty_chunk_is_nothing() -> None:
    empty = sum_by_bucket(np.zeros((0, 2, 3), dtype=np.int32), 0, 4)
    assert told_by_bucket([empty], n_pool=4) == {"coverage": [0.0, 0.0], "overlap": [0.0, 0.0]}
