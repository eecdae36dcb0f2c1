"""How alike slates are, worked out by hand."""

import numpy as np
from small_world import make_history, make_tables

from batch.alike import share_alike
from batch.features.view import View
from batch.slate import ActedOn
from batch.tables import HOUR_S

N_USERS, N_POSTS = 40, 30


def view_of(n_users: int = N_USERS, n_with_history: int = N_USERS, n_posts: int = N_POSTS) -> View:
    """Return a view in which the first `n_with_history` users have touched the last post."""
    events = [(50.0, user, n_posts - 1, "view") for user in range(n_with_history)]
    return View(make_history(make_tables(events, n_users=n_users, n_posts=n_posts)), 100 * HOUR_S)


def acted_on(by_user: dict[int, list[int]], n_users: int = N_USERS) -> ActedOn:
    posts = [by_user.get(user, []) for user in range(n_users)]
    return ActedOn(np.cumsum([0, *map(len, posts)]), np.array([p for of in posts for p in of], dtype=np.int64))


def top_of(order: list[int], acted: ActedOn) -> np.ndarray:
    """Return what popularity gives: for every user the first five of `order` that the user has not acted on."""
    rows = []
    for user in range(len(acted.begin) - 1):
        mine = set(acted.post[acted.begin[user] : acted.begin[user + 1]].tolist())
        rows.append([post for post in order if post not in mine][:5])
    return np.array(rows, dtype=np.int32)


def test_popularity_is_alike_whatever_each_user_has_acted_on() -> None:
    random = np.random.default_rng(0)
    popular_first = {user: random.choice(12, user % 8, replace=False).tolist() for user in range(N_USERS)}
    acted = acted_on(popular_first)
    top = top_of(list(range(N_POSTS)), acted)
    assert len(np.unique(top, axis=0)) > 20  # so counting equal fives would see nothing
    assert share_alike(top, acted, view_of()) == 1.0


def test_the_order_within_the_five_does_not_matter_and_each_other_user_counts() -> None:
    acted = acted_on({})
    top = top_of(list(range(N_POSTS)), acted)
    top[::2] = top[::2, ::-1]
    assert share_alike(top, acted, view_of()) == 1.0
    top[:4, 0] = [20, 21, 22, 23]
    assert share_alike(top, acted, view_of()) == 0.9


def test_personal_slates_are_not_alike() -> None:
    random = np.random.default_rng(1)
    top = np.array([random.permutation(N_POSTS)[:5] for _ in range(N_USERS)], dtype=np.int32)
    share = share_alike(top, acted_on({}), view_of())
    assert share is not None
    assert share < 0.1


def test_two_camps_are_not_alike() -> None:
    top = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]] * 20, dtype=np.int32)
    assert share_alike(top, acted_on({}), view_of()) == 0.5


def test_users_without_history_or_without_a_choice_do_not_count() -> None:
    top = np.array([[0, 1, 2, 3, 4]] * 25 + [[10, 11, 12, 13, 14]] * 15, dtype=np.int32)
    assert share_alike(top, acted_on({}), view_of(n_with_history=25)) == 1.0
    assert share_alike(top, acted_on({}), view_of(n_with_history=19)) is None
    without_choice = acted_on({user: list(range(21)) for user in range(25, 40)})
    assert share_alike(top, without_choice, view_of()) == 1.0
    assert share_alike(top, acted_on({}), view_of(n_posts=9)) is None


def test_empty_places_are_no_posts() -> None:
    acted = acted_on({0: list(range(3, 23))})
    top = top_of(list(range(N_POSTS)), acted)
    top[0, 3:] = -1  # two posts fewer than could be shown
    assert share_alike(top, acted, view_of()) == 39 / 40
