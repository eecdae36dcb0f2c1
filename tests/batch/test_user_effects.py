"""Users' own effects against the tables of effects that they are fitted beside."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.features.effects import Responses, add_up
from batch.features.user_effects import Moments, age_classes, user_effects
from batch.features.view import View
from batch.tables import HOUR_S, Floats, Ints


def newton(key: Ints, cell: Floats, variance: float, responses: Responses) -> Floats:
    gradient, curvature = (add_up(key, part, len(cell)) for part in responses.surprise())
    new: Floats = (gradient + curvature * cell) / (curvature + 1 / variance)
    responses.log_odds += (new - cell)[key]
    return new


@pytest.mark.parametrize("hours", [50, 95])
def test_users_are_fitted_as_their_own_tables_of_effects_would_be(hours: int) -> None:
    tables = make_tables(random_events(600, 12, 20, 90), n_users=13, n_posts=20, topic=["a", "b", "", "c"] * 5)
    history = make_history(replace(tables, relevance=np.array([0, 1])))
    view, events = View(history, hours * HOUR_S), history.tables.events
    random = np.random.default_rng(0)
    of_user, of_post = random.normal(size=(13, 3)), random.normal(size=(20, 3))
    moments = Moments(-1.0, random.normal(size=24), random.normal(size=8), 0, random.normal(size=16), view.dated_s)

    def effects(users: Ints) -> tuple[Floats, Floats]:
        return user_effects(history, users, view.n_events, moments, (of_user, of_post), (0.5, 0.3))

    user, taste = effects(np.arange(13))
    at = np.flatnonzero(history.first[: view.n_events])
    who, what, at_s = events.user[at].astype(np.int64), events.post[at], events.at_s[at]
    log_odds = moments.average + moments.hour[at_s // HOUR_S % 24] + moments.day[at_s // (24 * HOUR_S)]
    log_odds += moments.age[age_classes(at_s - view.dated_s[what], 16)] + (of_user[who] * of_post[what]).sum(axis=1)
    pairs = who * 20 + what
    strong = np.flatnonzero(history.strong[: view.n_events])
    happened = np.isin(pairs, events.user[strong].astype(np.int64) * 20 + events.post[strong])
    responses = Responses(happened.astype(np.float64), log_odds)
    topic = who * history.n_topics + history.topic[what]
    own, by_topic = np.zeros(13), np.zeros(13 * history.n_topics)
    for _ in range(300):  # by turns, until nothing moves
        own = newton(who, own, 0.5, responses)
        by_topic = newton(topic, by_topic, 0.3, responses)
    assert user == pytest.approx(own, abs=1e-5)
    assert taste.ravel() == pytest.approx(by_topic, abs=1e-5)
    assert user[12] == 0  # nothing was shown to the last one
    assert np.ptp(user) > 0.1
    some = np.array([7, 2])
    assert [found.tolist() for found in effects(some)] == [user[some].tolist(), taste[some].tolist()]


@pytest.mark.parametrize("variances", [(0.5, 0.0), (0.0, 0.3), (0.0, 0.0)])
def test_without_variance_there_is_no_effect(variances: tuple[float, float]) -> None:
    tables = make_tables(random_events(600, 12, 20, 90), n_users=13, n_posts=20, topic=["a", "b"] * 10)
    history = make_history(replace(tables, relevance=np.array([0, 1])))
    moments = Moments(-1.0, np.zeros(24), np.zeros(8), 0, np.zeros(16), View(history, 90 * HOUR_S).dated_s)
    profiles = np.zeros((13, 1)), np.zeros((20, 1))
    user, taste = user_effects(history, np.arange(13), 600, moments, profiles, variances)
    assert (bool(user.any()), bool(taste.any())) == (variances[0] > 0, variances[1] > 0)


def test_ages_fall_into_two_classes_an_octave() -> None:
    # 2 log2(0 + 4) - 4 = 0; of 4 hours 2; of 28 hours 6; the oldest fall into the last class.
    hours = np.array([np.nan, -1, 0, 4, 28, 1e9])
    assert age_classes(hours * HOUR_S, 16).tolist() == [0, 0, 0, 2, 6, 15]
