"""The response model finds who responds to what, from what was shown before a moment and from nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import Event, make_history, make_tables

from batch.features import response as module
from batch.features.bands import bands
from batch.features.effects import Effects, Responses, moment_variance
from batch.features.response import fit_response, response
from batch.features.view import History, View
from batch.tables import HOUR_S, Column

N_USERS, N_POSTS = 120, 40
COLD = 119
"""A user whom nothing was shown."""


def network(seed: int = 0) -> History:
    """Users of 20 like posts 0 to 19, those of 40 the others; every tenth user likes topic a, whatever the age says."""
    random = np.random.default_rng(seed)
    age = np.where(np.arange(N_USERS) % 2 == 0, 20.0, 40.0)
    events: list[Event] = []
    for user in range(N_USERS - 1):
        for post in random.choice(N_POSTS, 30, replace=False).tolist():
            hour = float(random.uniform(0, 90))
            events.append((hour, user, post, "view"))
            fits = post % 2 == 0 if user % 10 == 0 else (age[user] == 20) == (post < 20)
            if random.random() < (0.5 if fits else 0.1):
                events.append((hour + 0.01, user, post, "like"))
    profile: dict[str, Column] = {"age": age, "luck": random.random(N_USERS)}
    tables = make_tables(events, n_users=N_USERS, n_posts=N_POSTS, topic=["a", "b"] * 20, profile=profile)
    return make_history(replace(tables, relevance=np.array([0, 1])))


def test_a_variance_is_what_spread_leaves_over_chance() -> None:
    # Two cells of curvature 1 and 2: squares of 9 and 4, by chance 1 and 2, so (13 - 3) / (1 + 4).
    assert moment_variance(np.array([3.0, -2.0]), np.array([1.0, 2.0])) == pytest.approx(2)
    assert moment_variance(np.array([1.0, -1.0]), np.array([1.0, 2.0])) == 0
    # With a usual variance of 1/2: (10 + 2 · 2) / (5 + 2 · 4); of nothing seen the usual one is left.
    assert moment_variance(np.array([3.0, -2.0]), np.array([1.0, 2.0]), 0.5) == pytest.approx(14 / 13)
    assert moment_variance(np.zeros(2), np.zeros(2), 0.5) == pytest.approx(0.5)
    # One cell of two dimensions: (9 + 1 - (2 + 2)) / (4 + 1 + 1 + 4).
    matrix = np.array([[[2.0, 1.0], [1.0, 2.0]]])
    assert moment_variance(np.array([[3.0, 1.0]]), matrix) == pytest.approx(0.6)


def test_an_effect_is_a_shrunk_newton_step() -> None:
    # Even odds: two responses out of two have gradient 1 and curvature .5. So cells vary by (1² - .5) / .5² = 2, and
    # the step is 1 / (.5 + 1/2); the empty cells stay 0.
    responses = Responses(np.array([1.0, 1.0]), np.zeros(2))
    effects = Effects(np.array([1, 1]), np.zeros(3))
    effects.update(responses)
    assert effects.cell.tolist() == [0, 1, 0]
    assert responses.log_odds.tolist() == [1, 1]


def test_bands_cut_numbers_at_quantiles_and_keep_missing_values_apart() -> None:
    profile: dict[str, Column] = {
        "age": np.array([10.0, 20, np.nan, 20]),
        "same": np.ones(4),
        "height": np.arange(4.0),
        "country": np.array(["AT", "BR", "", "AT"], dtype=object),
    }
    found = bands(make_history(make_tables([], n_users=4, profile=profile)))
    assert [band.of_user.tolist() for band in found] == [[0, 1, 2, 1], [0, 1, 2, 3], [0, 1, 32, 0]]
    assert [band.size for band in found] == [3, 5, 33]
    many = bands(make_history(make_tables([], n_users=640, profile={"age": np.arange(640.0)})))[0]
    assert set(np.bincount(many.of_user)) == {19, 20, 21}


def test_the_model_knows_profiles_and_own_taste_and_the_profile_speaks_for_new_users() -> None:
    history = network()
    view = View(history, 100 * HOUR_S)
    odds = response(view, np.arange(N_USERS))
    fits = (np.arange(N_POSTS) < 20)[None, :] == (np.arange(N_USERS) % 2 == 0)[:, None]
    by_age = np.where(fits, odds, np.nan), np.where(fits, np.nan, odds)
    assert (np.nanmean(by_age[0], axis=1) > np.nanmean(by_age[1], axis=1) + 1).all()
    assert odds[COLD][fits[COLD]].min() > odds[COLD][~fits[COLD]].max()
    taste = odds[:COLD, ::2].mean(axis=1) - odds[:COLD, 1::2].mean(axis=1)
    assert np.median(taste[::10]) > 0.5
    assert np.median(np.abs(np.delete(taste, np.s_[::10]))) < 0.3


def test_profiles_that_say_nothing_make_no_factors() -> None:
    history = network()
    shuffled = np.random.default_rng(1).permutation(history.tables.users.profile["age"])
    users = replace(history.tables.users, profile={"age": shuffled})
    for tables, n_factors in ((history.tables, 2), (replace(history.tables, users=users), 0)):
        model = fit_response(View(make_history(tables), 100 * HOUR_S))
        assert model is not None
        assert model.of_post.shape == (N_POSTS, 1 + n_factors)


def test_log_odds_are_about_as_high_as_responses_are_frequent() -> None:
    history = network()
    view = View(history, 100 * HOUR_S)
    mean = (1 / (1 + np.exp(-response(view, np.arange(COLD))))).mean()
    assert mean == pytest.approx(history.strong.sum() / (~history.strong).sum(), abs=0.06)


def test_fitting_on_some_users_and_finds_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(network(), 100 * HOUR_S)
    whole = response(view, np.arange(N_USERS))
    monkeypatch.setattr(module, "_MOST_FITTED", view.n_events // 2)
    sampled = response(View(view.history, view.tau_s), np.arange(N_USERS))
    assert not np.allclose(sampled, whole)
    assert np.corrcoef(sampled.ravel(), whole.ravel())[0, 1] > 0.9


def test_what_comes_later_changes_nothing() -> None:
    history = network()
    tables = history.tables
    tau_s = 50 * HOUR_S
    later = tables.events.at_s >= tau_s
    events = replace(tables.events, post=np.where(later, tables.events.post[::-1], tables.events.post).astype(np.int32))
    other = make_history(replace(tables, events=events))
    one, two = (response(View(h, tau_s), np.arange(N_USERS)) for h in (history, other))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, response(View(other, 100 * HOUR_S), np.arange(N_USERS)))


@pytest.mark.parametrize("liked", [False, True])
def test_too_little_to_learn_from_is_no_model(liked: bool) -> None:
    shown: list[Event] = [(float(hour), hour % 3, hour % 4, "view") for hour in range(12)]
    responded: list[Event] = [(hour + 0.1, user, post, "like") for hour, user, post, _ in shown] if liked else []
    view = View(make_history(replace(make_tables(shown + responded), relevance=np.array([0, 1]))), 100 * HOUR_S)
    assert fit_response(view) is None
    assert not response(view, np.array([0, 2])).any()
