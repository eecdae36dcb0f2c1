"""Who stands behind a post and a user, as vectors."""

import numpy as np
import pytest
from small_world import Event, make_history, make_tables

from batch.features.crowd import crowd_of_posts, crowd_of_users
from batch.features.signs import DIMS, signs_of
from batch.features.view import View
from batch.tables import HOUR_S


def view_of(events: list[Event], tau_h: float = 100, n_users: int = 4) -> View:
    return View(make_history(make_tables(events, n_users=n_users, n_posts=4)), int(tau_h * HOUR_S))


def test_signs_depend_on_the_id_alone_have_norm_1_and_differ_between_ids() -> None:
    one = signs_of(np.array([7, 8, 9]))
    np.testing.assert_array_equal(one[1:], signs_of(np.array([8, 9])))
    np.testing.assert_array_equal(one[0], signs_of(np.array(["7"], dtype=object))[0])
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-6)
    many = signs_of(np.arange(500))
    apart = (many @ many.T)[~np.eye(500, dtype=bool)]
    assert abs(apart.mean()) < 0.01  # as of random signs: no common direction …
    assert apart.std() == pytest.approx(1 / np.sqrt(DIMS), rel=0.05)  # … and chance likeness of 1/8


def test_a_post_is_the_sum_of_its_first_touchers_over_the_root_of_their_number() -> None:
    view = view_of(
        [(90, 0, 0, "view"), (91, 1, 0, "view"), (92, 1, 0, "like"), (93, 2, 1, "view"), (101, 3, 0, "view")]
    )
    signs = view.history.signs
    crowd = crowd_of_posts(view)
    np.testing.assert_allclose(crowd[0], (signs[0] + signs[1]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(crowd[1], signs[2], rtol=1e-6)
    assert not crowd[2].any()


def test_of_many_touchers_the_latest_sixteen_count() -> None:
    view = view_of([(float(hour), hour, 0, "view") for hour in range(20)], n_users=20)
    expected = view.history.signs[4:].sum(axis=0) / 4
    np.testing.assert_allclose(crowd_of_posts(view)[0], expected, rtol=1e-5, atol=1e-7)


def test_users_of_the_same_posts_are_alike_and_a_user_without_events_is_nowhere() -> None:
    view = view_of([(90, 0, 0, "view"), (91, 1, 0, "view"), (92, 2, 1, "view")])
    of_users = crowd_of_users(view, np.arange(4))
    assert of_users[0] @ of_users[1] == pytest.approx(1, rel=1e-5)
    assert abs(of_users[0] @ of_users[2]) < 0.5
    assert not of_users[3].any()
