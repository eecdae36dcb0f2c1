"""Features with figures worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables

from batch.features.matrix import Column, gather, model_columns, on_axes
from batch.features.pair import knn, knn_trend
from batch.features.registry import FEATURES, Feature, register
from batch.features.view import View
from batch.tables import HOUR_S

EVENTS = [(90.0, 0, 0, "view"), (90.5, 0, 0, "like"), (91.0, 1, 0, "view"), (98.0, 1, 1, "view")]


def view_of(**more: object) -> View:
    return View(make_history(make_tables(EVENTS, **more)), 100 * HOUR_S)  # type: ignore[arg-type]


def test_age_counts_from_publication_to_the_middle_of_the_bucket() -> None:
    view = view_of(born_h=[50, 60, 99, 200])
    age = on_axes(view, "age_h", 103)
    assert age[:3].tolist() == [53.5, 43.5, 4.5]
    assert np.isnan(age[3])
    assert on_axes(view, "age_at_run_h")[:3].tolist() == [50, 40, 1]


def test_lag_hour_and_weekday_belong_to_the_bucket() -> None:
    view = view_of()
    assert on_axes(view, "lag_h", 103) == 3.5
    assert on_axes(view, "hour", 103) == 7
    assert on_axes(view, "weekday", 103) == 0  # 1970-01-05 was a Monday
    assert on_axes(view, "weekday", 103 - 24) == 6


def test_strong_rate_is_shrunk_to_the_average() -> None:
    # One like among four events. Post 0: (1 + 20/4) / (3 + 20); post 2, never touched: the average.
    rate = on_axes(view_of(), "strong_rate")
    assert rate[0] == pytest.approx(6 / 23)
    assert rate[2] == pytest.approx(1 / 4)


def test_knn_sums_similarities_of_the_latest_posts_by_rank() -> None:
    # User 0's latest events: the like, then the view, both of post 0, so weights 1 and 0.85.
    # Similarity of posts 0 and 1: one common user, 1 / (sqrt(2 + 2) * sqrt(1 + 2)).
    view = view_of()
    expected = 1.85 / (2 * np.sqrt(3))
    assert knn(view, np.array([0]))[0, 1] == pytest.approx(expected)
    assert knn_trend(view, np.array([0]))[0, 1] == pytest.approx(expected * view.trend[1])


def test_topic_lift_compares_with_the_average_and_is_shrunk() -> None:
    view = view_of(topic=["a", "b", "b", ""])
    # First touches: topic a 2, b 1, none 0; smoothed shares 3/6, 2/6, 1/6. Codes by frequency of posts: b, a, none.
    assert view.topic_share.tolist() == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    lift = on_axes(view, "topic_lift")
    assert lift[0, 1] == pytest.approx(((1 + 10 * 3 / 6) / 11) / (3 / 6))
    assert lift[2].tolist() == pytest.approx([1, 1, 1])


def test_segment_lift_is_one_without_a_segment() -> None:
    view = view_of(profile={"country": np.array(["AT", "BR", ""], dtype=object)})
    lift = on_axes(view, "segment_lift")
    assert view.history.segments.names == ("country=AT", "country=BR")
    assert lift.shape == (3, 4)
    assert (lift[-1] == 1).all()
    assert lift[0, 0] > 1 > lift[0, 1]


def test_the_response_model_is_used_only_where_it_is_known_what_was_shown() -> None:
    chosen = view_of()
    shown = View(make_history(replace(make_tables(EVENTS), relevance=np.array([0, 1]))), 100 * HOUR_S)
    assert "response" not in {column.name for column in model_columns(chosen)}
    assert "response" in {column.name for column in model_columns(shown)}


def test_author_match_is_the_share_of_the_latest_posts() -> None:
    view = view_of(author=["x", "y", "x", ""])
    match = FEATURES["author_match"].compute(view, np.array([1]))
    assert match[0].tolist() == [0.5, 0.5, 0.5, 0.0]


def test_without_any_event_nobody_has_an_author() -> None:
    view = View(make_history(make_tables([], author=["x", "y", "x", ""])), 100 * HOUR_S)
    assert FEATURES["author_match"].compute(view, np.array([0, 2])).tolist() == [[0.0] * 4] * 2


def test_gather_puts_each_feature_where_its_row_says() -> None:
    view = view_of(topic=["a", "b", "b", ""], profile={"age": np.array([20.0, 30.0, np.nan])})
    wanted = [Column("A", "profile.age"), Column("C", "age_h"), Column("B", "topic_lift"), Column("A", "knn")]
    matrix = gather(view, wanted, np.array([1, 2]), np.array([0, 1]), np.array([100, 105]))
    assert matrix[0, 0] == 30
    assert np.isnan(matrix[1, 0])
    assert matrix[0, 1] == 10.5
    assert matrix[1, 2] == 1
    assert matrix[0, 3] == pytest.approx(float(knn(view, np.array([1]))[0, 0]))


def test_a_feature_is_declared_once_and_only_for_parts_that_fit_its_axes() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        register(FEATURES["age_h"])
    with pytest.raises(ValueError, match="cannot be in part"):
        register(Feature("new", "user×post", "C", "a pair in the hour's part", lambda view: view))


def test_attention_fades_by_a_power_of_time_and_ends_after_a_week() -> None:
    events = [(100 - 8 * 24, 0, 0, "view"), (97.0, 1, 0, "view"), (99.0, 0, 1, "view"), (99.5, 0, 1, "like")]
    view = View(make_history(make_tables(events)), 100 * HOUR_S)
    assert view.faded(2.0).tolist() == pytest.approx([1 / 16, 1 / 4, 0, 0])
    assert on_axes(view, "fading_2").tolist() == pytest.approx([1 / 5, 4 / 5, 0, 0])


def test_places_velocity_and_the_nth_last_touch_of_posts() -> None:
    events = [(92.0, 0, 0, "view"), (99.0, 1, 0, "view"), (98.0, 0, 1, "view"), (98.5, 0, 1, "like")]
    view = View(make_history(make_tables(events, born_h=[50, 60, 60, 200])), 100 * HOUR_S)
    assert on_axes(view, "place_8h")[:3].tolist() == [0, 1, 2]
    assert on_axes(view, "newer_posts")[:3].tolist() == [2, 0, 0]  # equals are not newer than each other
    assert np.isnan(on_axes(view, "newer_posts")[3])
    quick, slow = np.array([2**-1 + 2**-8, 2**-2, 0]), np.array([2 ** (-1 / 8) + 2**-1, 2 ** (-2 / 8), 0])
    velocity = np.log2((quick / quick.sum() + 1e-4) / (slow / slow.sum() + 1e-4))
    assert on_axes(view, "velocity_1h_8h")[:3].tolist() == pytest.approx(velocity.tolist(), rel=1e-3)
    since = on_axes(view, "since_touch_2_h")
    assert since[0] == 8
    assert np.isnan(since[1:]).all()  # the like is no touch of its own
    assert on_axes(view, "events_24h").tolist() == [2, 2, 0, 0]
    assert on_axes(view, "strong_24h").tolist() == [0, 1, 0, 0]


def test_a_post_was_passed_by_as_often_as_its_reader_was_there_since() -> None:
    events = [(90.2, 0, 0, "view"), (90.4, 0, 1, "view"), (95.5, 0, 0, "like"), (95.0, 1, 0, "view")]
    view = View(make_history(make_tables(events, born_h=[50, 90.3, 96, 60])), 100 * HOUR_S)
    users = np.array([0, 1, 2])
    passed = FEATURES["passed_by"].compute(view, users)
    assert passed.tolist() == [[3, 2, 0, 3], [1, 1, 0, 1], [0, 0, 0, 0]]
    hours = FEATURES["passed_hours"].compute(view, users)
    assert hours.tolist() == [[2, 2, 0, 2], [1, 1, 0, 1], [0, 0, 0, 0]]  # an hour counts as a whole


def test_a_segment_has_its_own_fading_and_those_without_one_share_the_last_row() -> None:
    country = np.array(["AT", "BR", ""], dtype=object)
    events = [(99.0, 0, 0, "view"), (97.0, 0, 1, "view"), (99.0, 1, 1, "view"), (99.0, 2, 2, "view")]
    view = View(make_history(make_tables(events, profile={"country": country})), 100 * HOUR_S)
    fading = on_axes(view, "segment_fading")
    one, three = 2**-1.5, 4**-1.5
    assert fading[0].tolist() == pytest.approx([one / (one + three), three / (one + three), 0, 0])
    assert fading[1].tolist() == pytest.approx([0, 1, 0, 0])
    assert fading[2].tolist() == pytest.approx([0, 0, 1, 0])
