"""The half-life of popularity is chosen on the past, and follows how long posts live."""

import numpy as np
from small_world import Event, make_history, make_tables

from batch.baselines import POST_BASELINES
from batch.decay import HALF_LIVES_H, half_life_at
from batch.features.view import View
from batch.tables import HOUR_S

DAY_H = 24
NOW_H = 10 * DAY_H
N_USERS = 400


def touched(hot_h: int | None) -> list[Event]:
    """Let users touch random posts of 40: the five that are hot for `hot_h` hours, or (None) always the same ones."""
    random = np.random.default_rng(0)
    found: list[Event] = []
    for hour in range(NOW_H + 12):
        turn = hour // hot_h if hot_h else 0
        for at, post in enumerate(random.integers(0, 5 if hot_h else 10, 3)):
            found.append((hour + 0.2 + 0.2 * at, int(random.integers(N_USERS)), int(5 * turn + post) % 40, "view"))
        found.append((hour + 0.9, int(random.integers(N_USERS)), int(random.integers(40)), "view"))
    return found


def chosen(events: list[Event], at_h: float = NOW_H) -> float:
    history = make_history(make_tables(events, n_users=N_USERS, n_posts=40))
    return half_life_at(View(history, int(at_h * HOUR_S)))


def test_where_posts_live_short_the_half_life_is_short() -> None:
    assert chosen(touched(3)) < chosen(touched(None))


def test_what_comes_after_the_moment_or_on_its_day_changes_nothing() -> None:
    events = touched(3)
    changed = [event for event in events if event[0] < NOW_H] + [(NOW_H + 1.0, 3, 0, "like")]
    assert chosen(events) == chosen(changed)
    assert chosen(events, NOW_H + 11.5) == chosen(changed, NOW_H + 11.5)


def test_without_a_past_there_is_still_a_half_life() -> None:
    assert chosen([]) in HALF_LIVES_H
    assert chosen([(NOW_H + 2.0, 1, 1, "view")]) in HALF_LIVES_H


def test_the_baseline_uses_it() -> None:
    history = make_history(make_tables(touched(3), n_users=N_USERS, n_posts=40))
    view = View(history, NOW_H * HOUR_S)
    assert POST_BASELINES["popular_decay"](view).tolist() == view.decayed(half_life_at(view)).tolist()
