"""The view of a moment: counts by hand, and nothing of what comes later."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.features.matrix import model_columns, on_axes
from batch.features.registry import FEATURES
from batch.features.view import View
from batch.tables import HOUR_S, Events

EVENTS = [
    (90.0, 0, 0, "view"),
    (90.5, 0, 0, "like"),
    (91.0, 1, 0, "view"),
    (98.0, 1, 1, "view"),
    (99.5, 0, 1, "view"),
    (100.0, 2, 2, "view"),
]


def view_at(hours: float) -> View:
    return View(make_history(make_tables(EVENTS)), int(hours * HOUR_S))


def test_touches_count_each_user_once_and_end_just_before_the_moment() -> None:
    view = view_at(100)
    assert view.touches(24).tolist() == [2, 2, 0, 0]
    assert view.touches(2).tolist() == [0, 2, 0, 0]  # the event at exactly 98.0 is two hours old and counts
    assert view.touches(1.5).tolist() == [0, 1, 0, 0]
    assert view.touches_all.tolist() == [2, 2, 0, 0]  # the event at exactly 100.0 is not before 100


def test_decayed_touches_halve_every_half_life() -> None:
    # Post 0: touched 10 and 9 hours ago; the like of 90.5 is no first touch. Post 1: 2 and half an hour ago.
    expected = [2 ** (-10 / 2) + 2 ** (-9 / 2), 2**-1 + 2**-0.25, 0, 0]
    assert view_at(100).decayed(2).tolist() == pytest.approx(expected)


def test_last_touch_is_the_latest_event_of_any_kind_before_the_moment() -> None:
    last = view_at(100).last_touch_s / HOUR_S
    assert last[:2].tolist() == [91.0, 99.5]
    assert np.isnan(last[2:]).all()


def test_recent_events_come_newest_first_and_only_the_users_own() -> None:
    view = view_at(100)
    events, known = view.recent(np.array([0, 2]), 2)
    assert known.tolist() == [[True, True], [False, False]]
    assert view.history.tables.events.at_s[events[0]].tolist() == [99.5 * HOUR_S, 90.5 * HOUR_S]


def test_similarity_is_the_shrunk_cosine_of_the_sets_of_users() -> None:
    # Posts 0 and 1 were both touched by users 0 and 1: 2 / (sqrt(2 + 2) * sqrt(2 + 2)) = 1/2.
    similarity = view_at(100).similarity.toarray()
    assert similarity[0, 1] == pytest.approx(0.5)
    assert similarity[1, 0] == pytest.approx(0.5)
    assert similarity[0, 0] == 0
    assert similarity[2].tolist() == [0, 0, 0, 0]


def test_posts_exist_from_their_birth_on_unless_hidden() -> None:
    tables = make_tables(EVENTS, born_h=[0, 99, 100, 101], hidden=[True, False, False, False])
    assert View(make_history(tables), 100 * HOUR_S).exists.tolist() == [False, True, False, False]


def _all_features(view: View) -> dict[str, np.ndarray]:
    users = np.arange(view.n_users)
    found = {}
    for column in model_columns(view):
        if column.axes == "user×post":
            found[column.name] = FEATURES[column.name].compute(view, users)
        elif "bucket" in column.axes:
            found[column.name] = np.asarray(on_axes(view, column.name, view.tau_s // HOUR_S + 3))
        else:
            found[column.name] = np.asarray(on_axes(view, column.name))
    return found


@pytest.mark.parametrize("relevance", [(1, 2), (0, 1)])
def test_no_feature_looks_ahead(relevance: tuple[int, int]) -> None:
    events = random_events(600, 8, 12, last_h=200)
    tau_s = 120 * HOUR_S
    tables = make_tables(
        events, n_users=8, n_posts=12, as_of_h=200, topic=["a", "b", "c"] * 4, profile={"age": np.arange(8.0)}
    )
    tables = replace(tables, relevance=np.array(relevance))
    past = tables.events.at_s < tau_s
    assert 0 < past.sum() < len(past)
    later = tables.events
    shuffled = Events(
        later.at_s,
        np.where(past, later.user, later.user[::-1]).astype(np.int32),
        np.where(past, later.post, (later.post + 5) % 12).astype(np.int32),
        np.where(past, later.action, 1 - later.action).astype(np.int8),
    )
    before = _all_features(View(make_history(tables), tau_s))
    after = _all_features(View(make_history(replace(tables, events=shuffled)), tau_s))
    dated = {"age_h", "age_at_run_h"}  # a post that was first touched after τ has another age then, and none before
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)
    assert dated <= before.keys()


def test_features_have_the_shape_that_their_axes_say() -> None:
    tables = make_tables(
        random_events(300, 6, 9, last_h=90),
        n_users=6,
        n_posts=9,
        topic=["a", "b", "c"] * 3,
        profile={"age": np.ones(6)},
    )
    view = View(make_history(tables), 100 * HOUR_S, pool=np.array([4, 2, 7]))
    sizes = {"user": 6, "post": 9, "topic": 4, "segment": 1}
    for name, values in _all_features(view).items():
        axes = FEATURES[name].axes if name in FEATURES else "user"
        expected = tuple(
            3 if (axes, axis) == ("user×post", "post") else sizes[axis] for axis in axes.split("×") if axis != "bucket"
        )
        expected = (6, 3) if axes == "user×post" else expected
        assert values.shape == expected, name
