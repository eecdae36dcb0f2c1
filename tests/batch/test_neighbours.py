"""User-kNN with figures worked out by hand, and against the plain definition on random events."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.baselines import fading
from batch.features import neighbours
from batch.features.neighbours import fading_neighbour_scores, neighbour_scores
from batch.features.touches import latest_touches
from batch.features.view import View
from batch.rank import make_scorer
from batch.tables import HOUR_S

EVENTS = [
    (80.0, 0, 0, "view"),
    (80.5, 0, 0, "like"),
    (81.0, 1, 0, "view"),
    (92.0, 1, 1, "view"),
    (82.0, 2, 0, "view"),
    (82.5, 2, 2, "view"),
    (82.6, 2, 3, "view"),
    (100.0, 3, 0, "view"),
]


def view_of(events: list[tuple[float, int, int, str]], hours: float = 100, **more: object) -> View:
    return View(make_history(make_tables(events, **more)), int(hours * HOUR_S))  # type: ignore[arg-type]


def test_neighbours_speak_by_likeness_and_recency() -> None:
    # Likeness of user 0 to user 1: 1 / sqrt(1 × 2); to user 2: 1 / sqrt(1 × 3). Half a touch for every 8 hours of age.
    scores = neighbour_scores(view_of(EVENTS, n_users=4), np.array([0, 3]))
    one, two = 2**-0.5, 3**-0.5
    one, two = one / (one + two), two / (one + two)
    assert scores[0].tolist() == pytest.approx(
        [
            one * 2 ** (-19 / 8) + two * 2 ** (-18 / 8),
            one * 2 ** (-8 / 8),
            two * 2 ** (-17.5 / 8),
            two * 2 ** (-17.4 / 8),
        ]
    )
    assert scores[1].tolist() == [0, 0, 0, 0]  # the event at exactly 100 is not before 100


def test_fading_neighbours_count_rare_posts_in_common_for_more() -> None:
    # User 0 shares post 0 (of users 0, 1 and 2: worth (3 + 1)^-½) with both others, post 1 (3^-½) with user 2 alone.
    events = [
        (80.0, 0, 0, "view"),
        (80.0, 0, 1, "view"),
        (81.0, 1, 0, "view"),
        (82.0, 2, 0, "view"),
        (83.0, 2, 1, "view"),
    ]
    events += [(97.0, 1, 2, "view"), (97.0, 2, 3, "view")]
    scores = fading_neighbour_scores(view_of(events), np.array([0]))[0]
    one, two = 4**-0.5 / np.sqrt(2 * 2), (4**-0.5 + 3**-0.5) / np.sqrt(2 * 3)
    assert scores[2:].tolist() == pytest.approx([one / (one + two) * 4**-1.5, two / (one + two) * 4**-1.5])


def test_a_touch_is_the_first_on_a_post_or_a_response_where_views_are_only_shown() -> None:
    tables = make_tables(EVENTS, n_users=4)
    chosen = View(make_history(tables), 100 * HOUR_S)
    shown = View(make_history(replace(tables, relevance=np.array([0, 1]))), 100 * HOUR_S)
    times = chosen.history.tables.events.at_s / HOUR_S
    assert times[latest_touches(chosen, 2)].tolist() == [80.0, 81.0, 92.0, 82.5, 82.6]
    assert times[latest_touches(chosen, 2, int(82.6 * HOUR_S))].tolist() == [80.0, 81.0, 82.0, 82.5]
    assert times[latest_touches(shown, 2)].tolist() == [80.5]


def _by_definition(view: View, users: np.ndarray, touches: int, of_a_post: int, most: int) -> np.ndarray:
    events, kept = view.history.tables.events, latest_touches(view, touches)
    posts = {u: [int(events.post[e]) for e in kept if events.user[e] == u] for u in range(view.n_users)}
    latest = {
        p: [int(events.user[e]) for e in sorted(kept) if events.post[e] == p][-of_a_post:] for p in range(view.n_posts)
    }
    out = np.zeros((len(users), view.n_posts))
    for row, user in enumerate(users.tolist()):
        like = {
            other: sum(other in latest[p] for p in posts[user]) / np.sqrt(len(posts[user]) * len(posts[other]))
            for other in range(view.n_users)
            if other != user and any(other in latest[p] for p in posts[user])
        }
        best = sorted(like, key=lambda other: -like[other])[:most]
        for event in kept:
            other, age_h = int(events.user[event]), (view.tau_s - events.at_s[event]) / HOUR_S
            if other in best and age_h < 96:
                out[row, events.post[event]] += like[other] / sum(like[o] for o in best) * 2 ** (-age_h / 8)
    return out


def test_the_caps_bound_touches_users_of_a_post_and_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TOUCHES", 6)
    monkeypatch.setattr(neighbours, "USERS_OF_A_POST", 5)
    view = view_of(random_events(900, 70, 30, last_h=150, seed=3), 140, n_users=70, n_posts=30)
    users = np.arange(70)
    uncapped = neighbour_scores(view, users)
    np.testing.assert_allclose(uncapped, _by_definition(view, users, 6, 5, 100), rtol=1e-5)
    monkeypatch.setattr(neighbours, "NEIGHBOURS", 1)
    one = neighbour_scores(view, users.copy())  # other users, for all that the view keeps of those asked for last
    touched = latest_touches(view, 6)
    owner = view.history.tables.events.user[touched]
    for row in one:  # one neighbour alone, and at most six posts of that one
        assert np.count_nonzero(row) <= 6
        assert not row.any() or any(
            set(np.flatnonzero(row)) <= set(view.history.tables.events.post[touched[owner == u]].tolist())
            for u in users
        )
    assert np.count_nonzero(one) < np.count_nonzero(uncapped)


def test_scores_are_the_same_whoever_is_asked_together() -> None:
    view = view_of(random_events(900, 70, 30, last_h=150, seed=3), 140, n_users=70, n_posts=30)
    together = neighbour_scores(view, np.arange(70))
    for user in (0, 17, 69):
        assert neighbour_scores(view, np.array([user]))[0].tolist() == together[user].tolist()


def test_popularity_fades_with_the_square_of_the_hours() -> None:
    # First touches of posts 0 and 1, 1 and 3 hours ago: 1/4 and 1/16. The like of 99 is no first touch.
    view = view_of([(97.0, 0, 1, "view"), (99.0, 0, 1, "like"), (99.0, 1, 0, "view")])
    assert fading(view).tolist() == pytest.approx([0.8, 0.2, 0, 0])


def test_with_neighbours_and_without_popularity_decides_what_they_leave_open() -> None:
    view = view_of(EVENTS, n_users=4)
    scorer = make_scorer("user_knn_trend", None, view, range(100, 102))
    pair, beside = scorer.pair_scores(np.array([0, 3])), scorer.hour_scores
    assert pair[0].tolist() == neighbour_scores(view, np.array([0]))[0].tolist()
    assert beside[:, 1].tolist() == pytest.approx((0.3 * fading(view)).tolist())
    assert int(np.argmax(pair[1] + beside[:, 0])) == 1  # user 3 has no neighbour and gets what was touched last
