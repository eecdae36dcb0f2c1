"""Trees without conditions on pairs add up to LightGBM's own answer, for users of several segments."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.row_kernel import TILE, add_rows, row_posts
from batch.tree_kernel import reachable, tree_tables
from batch.trees import parse_trees

N_USERS, N_POSTS, N_TOPICS, N_SEGMENTS = 300, TILE + 40, 4, 3
USER, POST, SEGMENT_POST, USER_TOPIC = (0, 1), (2, 3), 4, (5, 6)
Values = NDArray[np.float32]


class World:
    """Values of features on each of the axes that such trees may ask for; many are missing, and many are alike."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)

        def some(*shape: int) -> Values:
            values = random.normal(size=shape).astype(np.float32).round(1)
            values[random.random(shape) < 0.2] = np.nan
            return values

        self.user = {feature: some(N_USERS) for feature in USER}
        self.post = {feature: some(N_POSTS) for feature in POST}
        self.segment_post, self.lift = some(N_SEGMENTS, N_POSTS), some(len(USER_TOPIC), N_USERS, N_TOPICS)
        self.segment = random.integers(0, N_SEGMENTS, N_USERS)
        self.segment[:270] = 1  # more than go through at a time
        self.topic = random.choice([0, 1, 3], N_POSTS)  # nothing is of topic 2

    def rows(self) -> Values:
        columns = [np.repeat(self.user[feature][:, None], N_POSTS, 1) for feature in USER]
        columns += [np.repeat(self.post[feature][None, :], N_USERS, 0) for feature in POST]
        columns += [self.segment_post[self.segment], *self.lift[:, :, self.topic]]
        return np.stack(columns, axis=-1).reshape(-1, 7)

    def booster(self, leaves: int, seed: int) -> lgb.Booster:
        rows, random = self.rows(), np.random.default_rng(seed)
        rows = rows[random.random(len(rows)) < 0.1]
        target = np.nan_to_num(rows) @ random.normal(size=7) + random.normal(size=len(rows))
        given = {"num_leaves": leaves, "min_data_in_leaf": 3, "learning_rate": 0.5, "verbosity": -1, "seed": seed}
        return lgb.train({"objective": "regression", **given}, lgb.Dataset(rows, target, params=given), 7)

    def scores(self, booster: lgb.Booster, users: NDArray[np.int64]) -> NDArray[np.float64]:
        trees = parse_trees(booster.model_to_string())
        tables = tree_tables(trees, USER_TOPIC)
        of_post = reachable(trees, tables, self.post, N_POSTS)
        masks = [of_post & reachable(trees, tables, {SEGMENT_POST: row}, N_POSTS) for row in self.segment_post]
        posts = row_posts(masks, self.topic, N_TOPICS)
        out = np.ones((len(users), N_POSTS))
        user_mask = reachable(trees, tables, self.user, N_USERS)[users]
        add_rows(tables, user_mask, self.lift[:, users], self.segment[users], posts, out)
        return out


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), leaves=st.sampled_from([2, 3, 16, 17, 32]))
def test_rows_add_up_to_what_the_booster_says(seed: int, leaves: int) -> None:
    world = World(seed)
    booster = world.booster(leaves, seed)
    expected = np.asarray(booster.predict(world.rows(), num_threads=1)).reshape(N_USERS, N_POSTS)
    np.testing.assert_allclose(world.scores(booster, np.arange(N_USERS)) - 1, expected, rtol=1e-9, atol=1e-12)


def test_scores_are_the_same_whoever_else_is_asked_for() -> None:
    world = World(1)
    booster = world.booster(16, 1)
    whole = world.scores(booster, np.arange(N_USERS))
    for users in (np.array([7]), np.array([299, 3, 280, 4]), np.arange(150, 300)):
        np.testing.assert_array_equal(world.scores(booster, users), whole[users])


@pytest.mark.parametrize("n_users", [1, N_USERS])
def test_a_tree_that_asks_nothing_of_users_gives_all_the_same_row(n_users: int) -> None:
    world = World(2)
    world.user = {feature: np.zeros(N_USERS, dtype=np.float32) for feature in USER}
    world.lift[:], world.segment_post[:] = 0, 0
    booster = world.booster(8, 2)
    scores = world.scores(booster, np.arange(n_users))
    assert np.ptp(scores, axis=0).max() == 0
    assert np.ptp(scores) > 0
