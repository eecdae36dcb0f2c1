"""The compiled passes over the log against what numpy says, at more than one chunk of users."""

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.features.view import View
from batch.passes import (
    count,
    count_where,
    keep_distinct,
    last_values,
    mark_first,
    mark_followed,
    order_by,
    sort_within,
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


def test_the_order_is_that_of_a_stable_sort() -> None:
    assert np.array_equal(order_by(USER, START), np.argsort(USER, kind="stable"))


@pytest.mark.parametrize("users_at_once", [7, 1_000])
def test_the_first_event_of_each_pair_is_marked(users_at_once: int) -> None:
    expected = np.zeros(len(USER), dtype=bool)
    expected[np.unique(USER.astype(np.int64) * 20 + POST, return_index=True)[1]] = True
    assert np.array_equal(mark_first(order_by(USER, START), START, POST, 20, users_at_once), expected)


@pytest.mark.parametrize("n_events", [0, 700, 2_000])
def test_pairs_with_a_strong_event_so_far_are_marked(n_events: int) -> None:
    pair = USER.astype(np.int64) * 20 + POST
    expected = np.isin(pair[:n_events], pair[:n_events][FLAG[:n_events]])
    marked = mark_followed(order_by(USER, START), START, POST, FLAG, 20, n_events, 7)
    assert np.array_equal(marked, expected)


def test_slices_are_sorted_and_rid_of_doubles_each_on_its_own() -> None:
    begin, values = np.array([0, 3, 3, 6]), np.array([4, 2, 4, 9, 2, 4])
    sort_within(begin, values)
    assert values.tolist() == [2, 4, 4, 2, 4, 9]
    kept_begin, kept = keep_distinct(begin, values)
    assert (kept_begin.tolist(), kept.tolist()) == ([0, 2, 2, 5], [2, 4, 2, 4, 9])


@pytest.mark.parametrize("actions", [("view", "like"), ("like",)])
def test_what_was_acted_on_is_every_pair_once_by_user_and_post(actions: tuple[str, ...]) -> None:
    events = random_events(400, 9, 12, 90)
    authors = ["11", "", "somebody", "11", *[""] * 8]
    view = View(make_history(make_tables(events, n_users=9, n_posts=12, author=authors)), 60 * HOUR_S)
    pairs = {(user, post) for hours, user, post, action in events if hours < 60 and action in actions}
    acted = acted_on(view.history, view, actions)
    user = np.repeat(np.arange(9), np.diff(acted.begin))
    assert list(zip(user.tolist(), acted.post.tolist(), strict=True)) == sorted(pairs | {(1, 0), (1, 3)})
