"""The kernel gives LightGBM's own answer for whatever trees it trains, over several tiles of posts."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.tree_kernel import TILE, add_trees, post_masks, reachable, tree_tables
from batch.trees import Tree, parse_trees

N_USERS, N_POSTS = 5, 2 * TILE + 77
USER, POST, PAIR = (0, 1), (2, 3), (4, 5, 6)


class World:
    """Values of two features of users, two of posts and three of pairs, with what makes conditions hard."""

    def __init__(self, seed: int, odd: str) -> None:
        random = np.random.default_rng(seed)

        def some(*shape: int) -> NDArray[np.float32]:
            values = random.normal(size=shape).astype(np.float32).round(1)
            values[random.random(shape) < 0.3] = {"missing": np.nan, "zeros": 0.0, "signs": -0.0, "plain": 1.5}[odd]
            return values

        self.user = {feature: some(N_USERS) for feature in USER}
        self.post = {feature: some(N_POSTS) for feature in POST}
        self.pair = np.stack([some(N_USERS, N_POSTS) for _ in PAIR])
        self.pair[0, :, TILE : 2 * TILE] = 0.0  # a tile in which a feature has one value
        self.pair[1, :, :TILE] = np.inf

    def rows(self) -> NDArray[np.float32]:
        columns = [np.repeat(self.user[feature][:, None], N_POSTS, 1) for feature in USER]
        columns += [np.repeat(self.post[feature][None, :], N_USERS, 0) for feature in POST]
        return np.stack([*columns, *self.pair], axis=-1).reshape(-1, 7)


def scores(trees: list[Tree], world: World, users: slice = slice(None)) -> NDArray[np.float64]:
    tables = tree_tables(trees, PAIR)
    user_mask = reachable(trees, tables, world.user, N_USERS)[users]
    posts = post_masks(reachable(trees, tables, world.post, N_POSTS))
    out = np.zeros((len(user_mask), N_POSTS))
    add_trees(tables, user_mask, posts, world.pair, out, users.start or 0)
    return out


def train(world: World, seed: int, **parameters: object) -> lgb.Booster:
    random = np.random.default_rng(seed)
    rows = world.rows()
    rows = rows[random.random(len(rows)) < 0.6]
    target = np.nan_to_num(rows, posinf=3.0) @ random.normal(size=7) + random.normal(size=len(rows))
    given = {"min_data_in_leaf": 3, "learning_rate": 0.5, "verbosity": -1, "seed": seed, **parameters}
    return lgb.train({"objective": "regression", **given}, lgb.Dataset(rows, target, params=given), 7)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    odd=st.sampled_from(["missing", "zeros", "signs", "plain"]),
    leaves=st.sampled_from([2, 3, 16, 17, 32]),
    use_missing=st.booleans(),
    extra_trees=st.booleans(),
)
def test_whatever_lightgbm_trains_is_scored_as_it_predicts(
    seed: int, odd: str, leaves: int, use_missing: bool, extra_trees: bool
) -> None:
    world = World(seed, odd)
    booster = train(world, seed, num_leaves=leaves, use_missing=use_missing, extra_trees=extra_trees)
    expected = np.asarray(booster.predict(world.rows(), raw_score=True)).reshape(N_USERS, N_POSTS)
    np.testing.assert_allclose(scores(parse_trees(booster.model_to_string()), world), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("leaves", [16, 32])
def test_scores_are_the_same_bit_for_bit_whatever_users_stand_beside(leaves: int) -> None:
    world = World(1, "missing")
    trees = parse_trees(train(world, 1, num_leaves=leaves).model_to_string())
    together = scores(trees, world)
    for user in range(N_USERS):
        np.testing.assert_array_equal(scores(trees, world, slice(user, user + 1))[0], together[user])


def test_posts_that_reach_the_same_leaves_score_the_same_in_every_tile() -> None:
    world = World(2, "zeros")
    last = N_POSTS - 1
    for post in (3, TILE + 5):
        for values in (*world.post.values(), *(of_users.T for of_users in world.pair)):
            values[last] = values[post]
        found = scores(parse_trees(train(world, 2).model_to_string()), world)
        np.testing.assert_array_equal(found[:, last], found[:, post])


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "average"),
        ({"objective": "multiclass", "num_class": 3}, "several scores"),
    ],
)
def test_what_is_no_plain_sum_of_trees_is_refused(parameters: dict[str, object], reason: str) -> None:
    random = np.random.default_rng(0)
    rows, target = random.normal(size=(300, 7)), random.integers(0, 3, 300)
    booster = lgb.train({"verbosity": -1, **parameters}, lgb.Dataset(rows, target), 2)
    with pytest.raises(BatchError, match=reason):
        parse_trees(booster.model_to_string())
