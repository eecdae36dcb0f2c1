"""How a post stands beside the user's other posts, by hand."""

import numpy as np
import pytest
from small_world import make_history, make_tables

from batch.features.registry import FEATURES, columns
from batch.features.standing import deviations, places, shares_of_highest
from batch.features.view import View
from batch.tables import HOUR_S

EVENTS = [
    (10.0, 0, 0, "view"),
    (11.0, 1, 0, "view"),
    (12.0, 1, 1, "view"),
    (20.0, 0, 2, "view"),
    (21.0, 1, 2, "view"),
    (22.0, 1, 3, "view"),
]


def test_scores_become_shares_of_the_highest_in_the_row() -> None:
    scores = np.array([[1, 4, 2], [0.5, 0.25, 0], [0, 0, 0]], dtype=np.float32)
    assert shares_of_highest(scores).tolist() == [[0.25, 1, 0.5], [1, 0.5, 0], [0, 0, 0]]


def test_scores_become_deviations_from_the_mean_of_the_row() -> None:
    # 1, 3, 5: mean 3, variance 8/3. A row of equal scores has no spread.
    found = deviations(np.array([[1, 3, 5], [2, 2, 2]], dtype=np.float32))
    assert found[0] == pytest.approx([-(1.5**0.5), 0, 1.5**0.5])
    assert found[1].tolist() == [0, 0, 0]


def test_places_count_what_stands_before_and_equals_stay_in_the_order_of_the_pool() -> None:
    scores = np.array([[0, 2, 0, 3, 2], [0, 0, 0, 0, 0]], dtype=np.float32)
    assert places(scores).tolist() == [[3, 1, 4, 0, 2], [0, 1, 2, 3, 4]]


def test_no_posts_have_no_standing() -> None:
    none = np.zeros((2, 0), dtype=np.float32)
    assert shares_of_highest(none).shape == deviations(none).shape == places(none).shape == (2, 0)


@pytest.mark.parametrize("name", ["knn", "user_knn", "user_knn_fading"])
def test_a_users_best_post_stands_at_one_and_who_is_like_nobody_has_none(name: str) -> None:
    view = View(make_history(make_tables(EVENTS)), 30 * HOUR_S)
    users = np.array([0, 2])
    scores = np.asarray(FEATURES[name].compute(view, users))
    standing = np.asarray(FEATURES[f"{name}_standing"].compute(view, users))
    assert scores[0].max() > 0
    assert standing[0] == pytest.approx(scores[0] / scores[0].max())
    assert standing[1].tolist() == [0, 0, 0, 0]


def test_standing_is_asked_where_users_chose_and_not_where_they_were_shown() -> None:
    chosen, shown = ({entry.name for entry in columns("A", shown_known=known)} for known in (False, True))
    assert "user_knn_place" in chosen - shown
    assert "user_knn" in chosen & shown
