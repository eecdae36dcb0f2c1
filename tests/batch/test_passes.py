"""The compiled passes over the log against what numpy says, at more than one chunk of users."""

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.features import together
from batch.features.registry import FEATURES
from batch.features.together import table_together, touched_together
from batch.features.view import View
from batch.passes import (
    count,
    count_early,
    count_where,
    first_wanted,
    last_values,
    latest_of_each,
    mark_first,
    mark_followed,
    order_by,
    order_where,
    posts_of_each,
    reordered,
    sum_halved,
    sums_halved_at,
)
from batch.slate import acted_on
from batch.tables import HOUR_S

RANDOM = np.random.default_rng(3)
USER = RANDOM.integers(0, 50, 2_000).astype(np.int32)
POST = RANDOM.integers(0, 20, 2_000).astype(np.int32)
FLAG = RANDOM.random(2_000) < 0.2
START = np.concatenate(([0], np.cumsum(np.bincount(USER, minlength=52))))


def test_counts_are_those_of_bincount() -> None:
    assert np.array_equal(count(USER, 52), np.bincount(USER, minlength=52))
    assert np.array_equal(count_where(USER, FLAG, 52), np.bincount(USER[FLAG], minlength=52))


def test_the_last_value_stays() -> None:
    last = last_values(np.array([2, 0, 2], dtype=np.int32), np.array([5, 6, 7]), 4)
    assert np.array_equal(last, [6, np.nan, 7, np.nan], equal_nan=True)


def test_events_are_summed_by_what_half_lives_leave_of_them() -> None:
    at_s, post = np.array([0, 3_600, 7_200, 7_200]), np.array([1, 0, 1, 1], dtype=np.int32)
    sums = sum_halved(at_s, post, np.array([True, True, True, False]), 7_200, 3_600.0, 3)
    assert sums.tolist() == [0.5, 1.25, 0]


def test_sums_at_several_moments_are_those_of_each() -> None:
    at_s, moments = np.sort(RANDOM.integers(0, 10_000, 2_000)), np.array([0, 100, 4_000, 4_500, 9_999])
    found = sums_halved_at(at_s, POST, FLAG, moments, 300.0, 900.0, 21)
    for moment, sums in zip(moments.tolist(), found, strict=True):
        window = slice(*np.searchsorted(at_s, [moment - 900, moment]))
        expected = sum_halved(at_s[window], POST[window], FLAG[window], moment, 300.0, 21)
        assert np.array_equal(sums == 0, expected == 0)
        assert sums * 0.5 ** ((moment - moments[-1]) / 300.0) == pytest.approx(expected, rel=1e-9)


def test_early_events_of_a_post_are_counted_up_to_its_own_moment() -> None:
    # Post 0 has events 1, 2, 4 at seconds 10, 20, 40; post 1 event 3, at second 30, of an unknown end; post 2 none.
    order, start, at_s = np.array([1, 2, 4, 3]), np.array([0, 3, 4, 4]), np.array([0, 10, 20, 30, 40])
    assert count_early(order, start, at_s, 5, np.array([40.0, np.nan, 9.0])).tolist() == [2, 0, 0]
    assert count_early(order, start, at_s, 2, np.array([99.0, 99.0, 9.0])).tolist() == [1, 0, 0]


def test_a_wanted_event_is_the_first_of_its_pair_that_began_in_time() -> None:
    # User 0 meets post 0 at 1, wants it at 5 and 6; user 1 meets post 0 at 2, wants it at 7, and post 1 at once, at 8.
    user, post = np.array([0, 1, 0, 0, 1, 1], dtype=np.int32), np.array([0, 0, 0, 0, 0, 1], dtype=np.int32)
    at_s, start = np.array([1, 2, 5, 6, 7, 8]), np.array([0, 3, 6])
    wanted, order = np.array([2, 3, 4, 5]), order_by(user, start)
    for since_s, expected in ((1, [True, False, True, True]), (2, [False, False, True, True])):
        since = np.full(4, since_s)
        assert first_wanted(np.array([0, 1]), order, start, post, at_s, wanted, since, 2, 1).tolist() == expected


def test_the_order_is_that_of_a_stable_sort() -> None:
    assert np.array_equal(order_by(USER, START), np.argsort(USER, kind="stable"))
    begin = np.concatenate(([0], np.cumsum(np.bincount(USER[FLAG], minlength=52))))
    at = np.flatnonzero(FLAG)
    assert np.array_equal(order_where(USER, FLAG, begin), at[np.argsort(USER[FLAG], kind="stable")])


@pytest.mark.parametrize("users_at_once", [7, 1_000])
def test_the_first_event_of_each_pair_is_marked(users_at_once: int) -> None:
    expected = np.zeros(len(USER), dtype=bool)
    expected[np.unique(USER.astype(np.int64) * 20 + POST, return_index=True)[1]] = True
    order = order_by(USER, START)
    first, first_by_user = mark_first(order, START, POST, 20, users_at_once)
    assert np.array_equal(first, expected)
    assert np.array_equal(first_by_user, expected[order])


@pytest.mark.parametrize("n_events", [0, 700, 2_000])
def test_pairs_with_a_strong_event_so_far_are_marked(n_events: int) -> None:
    pair = USER.astype(np.int64) * 20 + POST
    expected = np.isin(pair[:n_events], pair[:n_events][FLAG[:n_events]])
    users = np.arange(0, 52, 2)
    marked = mark_followed(users, order_by(USER, START), START, POST, FLAG, 20, n_events, 7)
    assert np.array_equal(marked, expected & (USER[:n_events] % 2 == 0))


@pytest.mark.parametrize("n_events", [0, 700, 2_000])
def test_the_latest_known_events_of_each_user_are_kept(n_events: int) -> None:
    order = order_by(USER, START)
    begin, kept = latest_of_each(order, START, reordered(FLAG, order), n_events, 3)
    for user in range(52):
        expected = np.flatnonzero((user == USER) & FLAG & (np.arange(2_000) < n_events))[-3:]
        assert kept[begin[user] : begin[user + 1]].tolist() == expected.tolist()


@pytest.mark.parametrize("n_posts", [20, 5_000])
@pytest.mark.parametrize("once_only", [True, False])
def test_the_posts_of_each_user_come_once_and_ascending(n_posts: int, once_only: bool) -> None:
    order = order_by(USER, START)
    known = mark_first(order, START, POST, 20, 7)[1] if once_only else np.ones(2_000, dtype=bool)
    begin, posts = posts_of_each(order, START, known, POST, 700, n_posts, 7)
    for user in range(52):
        assert posts[begin[user] : begin[user + 1]].tolist() == np.unique(POST[:700][USER[:700] == user]).tolist()


def test_two_posts_are_touched_together_as_often_as_a_product_of_matrices_says() -> None:
    order = order_by(USER, START)
    begin, posts = posts_of_each(order, START, reordered(FLAG, order), POST, 1_000, 21, 2)
    touched = np.zeros((52, 21))
    touched[np.repeat(np.arange(52), np.diff(begin)), posts] = 1
    found = touched_together(begin, posts, 21)
    assert found.has_canonical_format
    assert np.array_equal(found.toarray(), touched.T @ touched)
    assert found.nnz == np.count_nonzero(touched.T @ touched)


def test_a_table_of_what_is_touched_together_counts_the_same_whatever_the_order_of_a_users_posts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(together, "_AT_ONCE", 100)  # so that there are several parts
    n_posts = 200  # several squares of the half that is mirrored
    random = np.random.default_rng(0)
    sets = [random.permutation(n_posts)[: random.integers(0, 60)].astype(np.int32) for _ in range(40)]
    begin = np.concatenate(([0], np.cumsum([len(posts) for posts in sets])))
    posts = np.concatenate(sets)
    assert np.array_equal(table_together(begin, posts, n_posts), touched_together(begin, posts, n_posts).toarray())


@pytest.mark.parametrize("actions", [("view", "like"), ("like",)])
def test_what_was_acted_on_is_every_pair_once_by_user_and_post(actions: tuple[str, ...]) -> None:
    events = random_events(400, 9, 12, 90)
    authors = ["11", "", "somebody", "11", *[""] * 8]
    view = View(make_history(make_tables(events, n_users=9, n_posts=12, author=authors)), 60 * HOUR_S)
    pairs = {(user, post) for hours, user, post, action in events if hours < 60 and action in actions}
    acted = acted_on(view.history, view, actions)
    user = np.repeat(np.arange(9), np.diff(acted.begin))
    assert list(zip(user.tolist(), acted.post.tolist(), strict=True)) == sorted(pairs | {(1, 0), (1, 3)})


def test_a_topics_hour_counts_first_touches_at_that_hour_of_any_day() -> None:
    # Posts 0 and 2 are of topic a, post 1 of none. At 5 o'clock there is a first touch of either; the like is none.
    events = [
        (5.5, 0, 0, "view"),
        (29.1, 1, 1, "view"),
        (29.2, 0, 0, "like"),
        (30.0, 1, 2, "view"),
        (53.0, 2, 2, "view"),
    ]
    view = View(make_history(make_tables(events, n_posts=3, topic=["a", "", "a"])), 50 * HOUR_S)
    share = (np.array([2, 1]) + 1) / 5
    at_five = (np.array([1, 1]) + 10 * share) / 12
    assert FEATURES["topic_hour_lift"].compute(view, 5 + 24 * 9) == pytest.approx(at_five / share)
    at_six = (np.array([1, 0]) + 10 * share) / 11
    assert FEATURES["topic_hour_lift"].compute(view, 6) == pytest.approx(at_six / share)
