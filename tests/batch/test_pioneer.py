"""Features of a post's pioneer, with figures worked out by hand."""

import numpy as np
import pytest
from small_world import make_history, make_tables

from batch.features.matrix import on_axes
from batch.features.pioneers import pioneers
from batch.features.registry import FEATURES
from batch.features.view import View
from batch.tables import HOUR_S

# User 0 comes first to posts 0 and 1, user 1 to post 2. Nobody has touched post 3 before hour 100.
EVENTS = [
    (10.0, 0, 0, "view"),
    (11.0, 1, 0, "view"),
    (20.0, 0, 1, "view"),
    (60.0, 2, 1, "view"),
    (70.0, 1, 2, "view"),
    (71.0, 2, 2, "view"),
    (72.0, 2, 2, "like"),
    (100.0, 2, 3, "view"),
]


def view_of(**more: object) -> View:
    return View(make_history(make_tables(EVENTS, **more)), 100 * HOUR_S)  # type: ignore[arg-type]


def of(view: View, name: str, users: list[int]) -> list[list[float]]:
    found: list[list[float]] = FEATURES[name].compute(view, np.array(users)).tolist()
    return found


def test_the_pioneer_is_who_came_first_before_the_moment() -> None:
    assert pioneers(view_of()).tolist() == [0, 0, 1, -1]


def test_the_author_is_the_pioneer_where_the_author_is_a_user() -> None:
    assert pioneers(view_of(author=["", "12", "somebody else", "12"])).tolist() == [0, 2, 1, 2]  # 12 is user 2's id


def test_likeness_to_the_pioneer_counts_rare_posts_in_common_for_more() -> None:
    # All users touched two posts, and posts 0, 1 and 2 were touched by two users: each in common counts (2 + 1)^-½.
    likeness = of(view_of(), "pioneer_likeness", [1, 2])
    one = 3**-0.5 / 2
    assert likeness[0][:3] == pytest.approx([one, one, 2 * one])
    assert likeness[1][:3] == pytest.approx([one, one, one])
    assert np.isnan(likeness[0][3])


def test_lift_compares_a_users_touches_of_a_pioneers_posts_with_everybodys() -> None:
    # Of six touches four are of posts that user 0 brought, two of user 1's. User 2 has one of each.
    lift = of(view_of(), "pioneer_lift", [0, 2])
    assert lift[0][0] == pytest.approx(np.log((2 + 20 * 4 / 6) / 22 / (4 / 6)), abs=1e-3)
    assert lift[1][2] == pytest.approx(np.log((1 + 20 * 2 / 6) / 22 / (2 / 6)), abs=1e-3)
    assert lift[1][0] == lift[1][1] < 0 < lift[1][2]


def test_reach_is_what_earlier_posts_got_in_their_first_day() -> None:
    # Posts 0, 1, 2 date from 10, 20 and 70 h: 2 + 1 touches in the first days of user 0's, 2 of user 1's; mean 5/3.
    reach = np.asarray(on_axes(view_of(), "pioneer_reach"))
    assert reach[:3] == pytest.approx([(3 + 5) / 5, (3 + 5) / 5, (2 + 5) / 4])
    assert reach[3] == pytest.approx(5 / 3)


def test_rate_is_the_share_of_a_pioneers_posts_that_the_user_touched() -> None:
    # User 0 brought posts 0 and 1, user 1 post 2, nobody post 3. User 2 touched posts 1 and 2, user 1 posts 0 and 2.
    rate = of(view_of(), "pioneer_rate", [0, 1, 2])
    assert rate[0][:3] == pytest.approx([2.2 / 4, 2.2 / 4, 0.2 / 3])
    assert rate[1][:3] == pytest.approx([1.2 / 4, 1.2 / 4, 1.2 / 3])
    assert rate[2][:3] == pytest.approx([1.2 / 4, 1.2 / 4, 1.2 / 3])
    assert np.isnan(rate[0][3])


def test_rate_forgets_posts_of_more_than_ninety_days() -> None:
    later = View(make_history(make_tables(EVENTS)), (90 * 24 + 65) * HOUR_S)  # posts 0 and 1 are older, post 2 is not
    rate = of(later, "pioneer_rate", [1])
    assert rate[0][:3] == pytest.approx([0.1, 0.1, 1.2 / 3])
