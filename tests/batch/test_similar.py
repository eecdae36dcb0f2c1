from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables

from batch.features.view import View
from batch.similar import similar_posts
from batch.tables import HOUR_S


def view_of(n_posts: int, touches: dict[int, list[int]], text: np.ndarray | None = None, **world: object) -> View:
    """Return the view of a world in which users (keys) touched posts (values) one after the other."""
    events = [(1.0 + place, user, post, "view") for user, posts in touches.items() for place, post in enumerate(posts)]
    tables = make_tables(events, n_users=len(touches), n_posts=n_posts, **world)  # type: ignore[arg-type]
    return View(replace(make_history(tables), text=text), 50 * HOUR_S)


def found(view: View, most: int = 9) -> list[list[int]]:
    return [posts.tolist() for posts in similar_posts(view, most)]


def test_the_same_users_make_posts_similar() -> None:
    # 0 and 1 share three users, 0 and 2 one; nobody touched 3.
    view = view_of(4, {0: [0, 1], 1: [0, 1], 2: [0, 1, 2]})
    assert found(view) == [[1, 2], [0, 2], [0, 1], []]
    assert found(view, 1) == [[1], [0], [0], []]


def test_a_post_that_nobody_touched_goes_by_its_text() -> None:
    text = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
    assert found(view_of(4, {0: []}, text)) == [[1, 2], [2, 0, 3], [1, 3, 0], [2, 1]]


def test_both_lists_count_by_rank() -> None:
    # By users: 1 before 2. By text: 2 alone. So 2 has 1/62 + 1/61, 1 has 1/61.
    text = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    view = view_of(3, {0: [0, 1], 1: [0, 1], 2: [0, 1, 2]}, text)
    assert found(view)[0] == [2, 1]


def test_hidden_and_unborn_posts_are_neither_asked_for_nor_named() -> None:
    view = view_of(4, {0: [0, 1, 2]}, hidden=[False, True, False, False], born_h=[0, 0, 0, 60])
    assert view.pool.tolist() == [0, 2]
    assert found(view) == [[2], [0]]


def test_what_happens_later_changes_nothing() -> None:
    early = view_of(3, {0: [0, 1]})
    events = [(1.0, 0, 0, "view"), (2.0, 0, 1, "view"), (50.0, 0, 2, "like"), (51.0, 1, 2, "like")]
    late = View(make_history(make_tables(events, n_users=2, n_posts=3)), 50 * HOUR_S)
    assert found(early) == found(late) == [[1], [0], []]


def test_a_catalogue_too_large_for_a_table_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    touches = {user: random.choice(60, 20, replace=False).tolist() for user in range(40)}
    laid_out = found(view_of(60, touches))
    monkeypatch.setattr("batch.features.view._MOST_IN_TABLE", 59)
    assert view_of(60, touches).similarity_table() is None
    assert found(view_of(60, touches)) == laid_out


@pytest.mark.parametrize("most", [1, 3])
def test_many_posts_are_as_one_by_one(most: int) -> None:
    random = np.random.default_rng(0)
    touches = {user: random.choice(700, 30, replace=False).tolist() for user in range(80)}
    text = random.normal(size=(700, 4)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    view = view_of(700, touches, text)
    together = view.similarity_to_pool.toarray()
    for post, others in enumerate(found(view, most)):
        worth: dict[int, float] = {}
        for likeness in (together[post], text @ text[post]):
            ranked = sorted(
                (other for other in range(700) if other != post and likeness[other] > 0), key=lambda o: -likeness[o]
            )
            for rank, other in enumerate(ranked[: 5 * most], start=1):
                worth[other] = worth.get(other, 0) + 1 / (60 + rank)
        assert [worth[other] for other in others] == pytest.approx(sorted(worth.values(), reverse=True)[:most])
