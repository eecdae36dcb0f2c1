"""Slate rules: limits, diversity and exploration by hand, and against the plain way of doing it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import make_history, make_tables

from batch.features.view import View
from batch.rules import RuledPool, Rules, Scores, explored_posts, rules_of
from batch.settings import BatchSettings
from batch.tables import HOUR_S

NOTHING = np.zeros(0, dtype=np.int64)


def view_of(
    n_posts: int, *, n_users: int = 3, events: list[tuple[float, int, int, str]] | None = None, **more: object
) -> View:
    tables = make_tables(events or [], n_posts=n_posts, n_users=n_users, **more)  # type: ignore[arg-type]
    return View(make_history(tables), 100 * HOUR_S)


def scores_of(view: View, by_post: list[float], n_hours: int = 1, excluded: list[list[int]] | None = None) -> Scores:
    n_users, n_posts = view.n_users, len(by_post)
    left_out = excluded or [[] for _ in range(n_users)]
    return Scores(
        np.tile(np.array(by_post, dtype=np.float64), (n_users, 1)),
        np.zeros(n_posts, dtype=np.int64),
        np.zeros((n_users, 1, n_hours)),
        np.zeros((n_posts, n_hours)),
        np.array([post for posts in left_out for post in posts], dtype=np.int64),
        np.cumsum([0, *map(len, left_out)]),
    )


def picked(view: View, rules: Rules, scores: Scores, top_n: int) -> list[list[int]]:
    users = np.arange(view.n_users)
    return [slates[0].tolist() for slates in RuledPool(rules, view).pick(scores, users, top_n).posts]


def test_a_limit_by_topic_holds_within_the_first_places_and_the_rest_follows_in_order() -> None:
    view = view_of(7, topic=["a", "a", "a", "a", "b", "b", ""])
    scores = scores_of(view, [7, 6, 5, 4, 3, 2, 1])
    assert picked(view, Rules(within=4, max_per_topic=2), scores, 6)[0] == [0, 1, 4, 5, 2, 3]
    assert picked(view, Rules(within=4, max_per_topic=1), scores, 7)[0] == [0, 4, 6, 1, 2, 3, 5]  # no third topic


def test_posts_without_a_topic_or_an_author_are_in_no_group() -> None:
    view = view_of(4)
    assert picked(view, Rules(within=4, max_per_topic=1, max_per_author=1), scores_of(view, [4, 3, 2, 1]), 4)[0] == [
        0,
        1,
        2,
        3,
    ]


def test_limits_by_topic_and_author_hold_together() -> None:
    view = view_of(5, topic=["a", "a", "b", "b", "c"], author=["x", "y", "x", "y", "z"])
    rules = Rules(within=3, max_per_topic=1, max_per_author=1)
    assert picked(view, rules, scores_of(view, [5, 4, 3, 2, 1]), 3)[0] == [0, 3, 4]


def test_a_limit_is_kept_however_deep_the_post_lies_that_keeps_it() -> None:
    n_posts = 1_000
    view = view_of(n_posts, topic=["a"] * 990 + ["b"] * 10)
    scores = scores_of(view, list(range(n_posts, 0, -1)), excluded=[[], [990], []])
    assert picked(view, Rules(within=3, max_per_topic=2), scores, 4) == [[0, 1, 990, 2], [0, 1, 991, 2], [0, 1, 990, 2]]


def test_a_slate_is_full_where_no_post_keeps_the_limit() -> None:
    view = view_of(200, topic=["a"] * 200)
    assert picked(view, Rules(within=3, max_per_topic=1), scores_of(view, list(range(200, 0, -1))), 4)[0] == [
        0,
        1,
        2,
        3,
    ]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_posts=st.integers(1, 90), within=st.integers(1, 6), top_n=st.integers(1, 8))
def test_limits_choose_what_going_through_a_full_sort_chooses(seed: int, n_posts: int, within: int, top_n: int) -> None:
    random = np.random.default_rng(seed)
    topic = [f"t{code}" for code in random.integers(0, 3, n_posts)]
    author = [f"a{code}" if code else "" for code in random.integers(0, 5, n_posts)]
    view = view_of(n_posts, topic=topic, author=author)
    left_out = [np.flatnonzero(random.random(n_posts) < 0.3).tolist() for _ in range(3)]
    by_post = random.integers(0, 9, n_posts).astype(float).tolist()
    rules = Rules(within=within, max_per_topic=2, max_per_author=1)
    for posts, excluded in zip(
        picked(view, rules, scores_of(view, by_post, 1, left_out), top_n), left_out, strict=True
    ):
        rest = [int(post) for post in np.argsort(-np.array(by_post), kind="stable") if post not in excluded]
        want: list[int] = []
        for _ in range(min(within, len(rest))):
            topics, authors = [topic[post] for post in want], [author[post] for post in want]
            keep = [p for p in rest if topics.count(topic[p]) < 2 and (not author[p] or author[p] not in authors)]
            want.append((keep or rest)[0])
            rest.remove(want[-1])
        want = (want + rest)[:top_n]
        assert posts == want + [-1] * (top_n - len(want))


def test_diversity_puts_unlike_texts_before_like_ones() -> None:
    view = view_of(4)
    text = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    view = View(replace(view.history, text=text), view.tau_s)
    scores = scores_of(view, [4, 3, 2, 1])
    assert picked(view, Rules(within=4), scores, 4)[0] == [0, 1, 2, 3]
    # worth at place 2: .5·(49/50) - .5·1, .5·(48/50) - .5·.6, .5·(47/50) - 0; then post 1 has 1 and post 2 has .8
    assert picked(view, Rules(within=4, diversity=0.5), scores, 4)[0] == [0, 3, 2, 1]
    assert picked(view, Rules(within=2, diversity=0.5), scores, 4)[0] == [0, 3, 1, 2]


TOUCHED = [(90.0, 0, post, "view") for post in range(80)]


def test_exploration_holds_the_last_of_the_first_places() -> None:
    view = view_of(100, n_users=40, events=TOUCHED)
    ruled = RuledPool(Rules(within=5, explore_places=2), view)
    found = ruled.pick(scores_of(view, list(range(100, 0, -1)), 3), np.arange(40), 8)
    untouched = explored_posts(view)
    assert len(untouched) == 5  # a twentieth
    assert set(untouched.tolist()) <= set(range(80, 100))
    assert (found.posts[:, :, :3] == [0, 1, 2]).all()
    assert (found.posts[:, :, 5:] == [3, 4, 5]).all()
    explored = found.posts[:, :, 3:5]
    assert np.isin(explored, untouched).all()
    assert (explored[:, :, 0] != explored[:, :, 1]).all()
    assert found.explored.tolist() == [6] * 40
    shown = np.bincount(explored.ravel(), minlength=100)[untouched]
    assert shown.min() > 20  # 240 places by chance over five posts: 48 each


def test_exploration_depends_on_seed_user_and_bucket_alone() -> None:
    view = view_of(100, n_users=40, events=TOUCHED)

    def explored(users: np.ndarray, seed: int = 0) -> np.ndarray:
        scores = scores_of(view, list(range(100, 0, -1)), 2)
        scores = replace(scores, pair=scores.pair[users], topic_score=scores.topic_score[users])
        return RuledPool(Rules(within=5, explore_places=1, seed=seed), view).pick(scores, users, 5).posts[:, :, 4]

    everybody = explored(np.arange(40))
    np.testing.assert_array_equal(explored(np.array([7, 30])), everybody[[7, 30]])
    assert (explored(np.arange(40), seed=1) != everybody).any()
    assert (everybody[:, 0] != everybody[:, 1]).any()
    later = View(view.history, view.tau_s + HOUR_S)
    scores = scores_of(later, list(range(100, 0, -1)), 1)
    moved = RuledPool(Rules(within=5, explore_places=1), later).pick(scores, np.arange(40), 5).posts[:, 0, 4]
    np.testing.assert_array_equal(moved, everybody[:, 1])  # the bucket counts, not the run that published it


def test_what_a_user_is_not_shown_is_not_explored_and_an_empty_place_is_filled_by_score() -> None:
    view = view_of(40, events=TOUCHED[:38])
    assert explored_posts(view).tolist() == [38, 39]
    scores = scores_of(view, list(range(40, 0, -1)), excluded=[[38, 39], [38], []])
    ruled = RuledPool(Rules(within=3, explore_places=1), view)
    found = ruled.pick(scores, np.arange(3), 3)
    assert found.posts[:2, 0].tolist() == [[0, 1, 2], [0, 1, 39]]
    assert found.explored.tolist() == [0, 1, 1]


def test_places_beyond_the_slate_are_not_counted() -> None:
    view = view_of(40, events=TOUCHED[:38])
    found = RuledPool(Rules(within=5, explore_places=1), view).pick(scores_of(view, [1.0] * 40), np.arange(3), 3)
    assert found.posts.shape == (3, 1, 3)
    assert found.explored.tolist() == [0, 0, 0]


def test_the_newest_of_the_untouched_are_explored_first() -> None:
    view = view_of(40, events=TOUCHED[:38], born_h=[0.0] * 38 + [10.0, 50.0])
    assert explored_posts(view).tolist() == [39, 38]


def test_without_rules_nothing_is_reordered_and_settings_ask_for_none() -> None:
    assert not rules_of(BatchSettings()).on
    assert rules_of(BatchSettings(explore_places=9, rules_within=4, seed=3)) == Rules(4, 0, 0, 0.0, 4, 3)
    with pytest.raises(ValueError, match="diversity"):
        BatchSettings(diversity=1.0)
