"""Training cases are what a run at a past moment could have known, and what happened then."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import make_history, make_tables, random_events

from batch.candidates import pool_at
from batch.cases import Cases, Sampling, _chance, _untouched, draw_cases, moments_before, split_s
from batch.features.matrix import Column
from batch.features.view import View
from batch.tables import HOUR_S, Ints

SAMPLING = Sampling(days=1, groups=1000, negatives=20, hours=24, refresh_h=24, seed=0)
COLUMNS = [Column("C", "lag_h"), Column("C", "touches_all"), Column("A", "user_events")]


def pool(view: View) -> Ints:
    return pool_at(view, full_catalogue_posts=2000, each=10)


def draw(events: list[tuple[float, int, int, str]], sampling: Sampling = SAMPLING, **more: object) -> Cases:
    history = make_history(make_tables(events, **more))  # type: ignore[arg-type]
    return draw_cases(history, COLUMNS, history.tables.as_of_s, sampling, pool, lambda _done, _total: None)


def test_moments_are_whole_steps_of_hours_before_the_run_and_leave_a_past() -> None:
    history = make_history(make_tables([(50.0, 0, 0, "view"), (99.0, 1, 1, "view")], as_of_h=100))
    moments = [moment / HOUR_S for moment in moments_before(history, 100 * HOUR_S, SAMPLING)]
    assert moments == [float(hour) for hour in range(77, 100)]


def test_of_two_models_the_second_gets_the_last_days_or_half_of_a_shorter_log() -> None:
    def of_log_from(hour: float) -> float:
        history = make_history(make_tables([(hour, 0, 0, "view"), (199.0, 1, 1, "view")], as_of_h=200))
        since_s = split_s(history, 200 * HOUR_S, SAMPLING)
        moments = moments_before(history, 200 * HOUR_S, replace(SAMPLING, since_s=since_s))
        assert min(moments) == since_s + HOUR_S
        return since_s / HOUR_S

    assert of_log_from(0) == 200 - 24
    assert of_log_from(170) == 188  # moments 176 … 199: the first fifth of the log is left to fill the features


def test_a_case_has_the_lag_and_the_features_of_its_moment() -> None:
    # One later touch: user 1 touches post 0 for the first time at 99.2, so each moment before it makes one case.
    cases = draw([(50.0, 0, 0, "view"), (50.1, 1, 1, "view"), (99.2, 1, 0, "view")])
    touched = cases.matrix[cases.grade > 0]
    lags = touched[:, 0]
    assert sorted(lags) == [hour + 0.5 for hour in range(23)]
    assert set(touched[:, 1]) == {1.0}  # only user 0 had touched post 0 by then, at every moment
    assert set(touched[:, 2]) == {1.0}
    assert len(cases.group) == 23
    assert cases.group.sum() == len(cases.grade)


def test_the_grade_is_the_highest_of_the_bucket_and_a_like_is_no_second_case() -> None:
    events = [(50.0, 0, 0, "view"), (50.1, 1, 1, "view"), (99.2, 1, 0, "view"), (99.3, 1, 0, "like")]
    cases = draw(events)
    assert set(cases.grade[cases.grade > 0]) == {2}
    assert (cases.grade > 0).sum() == 23


def test_later_events_on_a_known_post_are_no_cases() -> None:
    cases = draw([(50.0, 0, 0, "view"), (50.1, 1, 1, "view"), (99.2, 0, 0, "like")])
    assert len(cases.group) == 0
    assert cases.matrix.shape == (0, 3)


def test_posts_that_did_not_exist_at_the_moment_are_not_in_its_cases() -> None:
    events = [(50.0, 0, 0, "view"), (50.1, 1, 1, "view"), (99.2, 1, 2, "view")]
    cases = draw(events, born_h=[0, 0, 98.5, 0])
    assert (cases.grade > 0).sum() == 1  # from the moment 99 alone, with a lag of half an hour
    assert cases.matrix[cases.grade > 0, 0].tolist() == [0.5]


def test_posts_that_the_user_touched_are_not_sampled_as_untouched() -> None:
    # User 1 has touched posts 0 to 2 and goes on to touch 3; so beside it only 4 and 5 can stand in its cases.
    before = [(50.0 + post, 1, post, "view") for post in range(3)]
    cases = draw([*before, (99.2, 1, 3, "view")], n_posts=6)
    assert set(cases.group) == {3}
    assert (cases.grade.reshape(-1, 3) > 0).sum(axis=1).tolist() == [1] * len(cases.group)


def test_where_an_action_means_shown_all_that_was_shown_is_a_case_once() -> None:
    before = [(50.0, 0, 0, "view")]
    session = [(99.1, 1, 0, "view"), (99.2, 1, 1, "view"), (99.3, 1, 1, "like"), (99.4, 2, 2, "view")]
    tables = replace(make_tables([*before, *session], n_posts=6), relevance=np.array([0, 1]))
    history = make_history(tables)
    assert [at / HOUR_S for at in moments_before(history, tables.as_of_s, SAMPLING)] == [76, 82, 88, 94]
    cases = draw_cases(history, COLUMNS, tables.as_of_s, SAMPLING, pool, lambda _done, _total: None)
    assert cases.group.tolist() == [2, 1]  # user 1's two posts, and user 2's, who liked nothing
    assert cases.grade.tolist() == [0, 1, 0]
    assert cases.matrix[:, 0].tolist() == [5.5] * 3  # the lag from the moment before, 94
    assert cases.matrix[:, 1].tolist() == [1, 0, 0]  # touches of the post by then: user 0's alone


def test_moments_are_all_hours_or_a_sample_that_meets_every_hour_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    log = [(float(hour), 0, 0, "view") for hour in range(0, 2000, 10)]
    history = make_history(make_tables(log, as_of_h=2000))
    every_hour = moments_before(history, 2000 * HOUR_S, replace(SAMPLING, days=28))
    assert len(every_hour) == 671
    monkeypatch.setattr("batch.cases._EVENTS_LOOKED_THROUGH", 700 * len(log))
    long_ago = moments_before(history, 2000 * HOUR_S, replace(SAMPLING, days=80))
    assert len(long_ago) == 700
    assert long_ago == sorted(set(long_ago))
    assert long_ago[0] >= 400 * HOUR_S  # a fifth of the log is left to fill the features
    assert {moment // HOUR_S % 24 for moment in long_ago} == set(range(24))


def test_the_chance_to_be_drawn_is_how_often_it_happens() -> None:
    events = [(90.0 + post / 100, 0, post, "view") for post in range(300)]
    view = View(make_history(make_tables(events, n_users=2, n_posts=400)), 100 * HOUR_S)
    view.pool = pool(view)
    times = 400
    drawn = np.zeros(400)
    for seed in range(times):
        places = _untouched(view, np.array([1]), 50, np.random.default_rng(seed))
        drawn[np.unique(places % view.n_posts)] += 1
    expected = _chance(np.arange(400), 400, 50)
    assert expected[0] == pytest.approx(1 - (1 - 1 / 200) ** 30 * (1 - 1 / 400) ** 20)
    assert expected[-1] == pytest.approx(1 - (1 - 1 / 400) ** 20)
    assert drawn[:200].mean() / times == pytest.approx(expected[0], rel=0.05)
    assert drawn[200:].mean() / times == pytest.approx(expected[-1], rel=0.1)


def test_every_case_says_what_chance_its_posts_had() -> None:
    cases = draw(random_events(500, 10, 20, last_h=99), n_users=10, n_posts=20)
    assert len(cases.chance) == len(cases.grade)
    assert set(cases.chance.round(9)) == {_chance(np.zeros(1, dtype=np.int64), 20, SAMPLING.negatives)[0].round(9)}


def test_most_cases_are_those_before_the_next_run() -> None:
    events = random_events(3000, 30, 20, last_h=99)
    columns = [Column("C", "lag_h")]
    history = make_history(make_tables(events, n_users=30, n_posts=20))
    hourly = replace(SAMPLING, refresh_h=1)
    cases = draw_cases(history, columns, 100 * HOUR_S, hourly, pool, lambda _done, _total: None)
    lag = cases.matrix[np.cumsum(cases.group) - 1, 0]
    soon, later = (lag < 1).sum(), (lag > 1).sum()
    assert soon > 20
    assert 0.2 * soon < later < 0.25 * soon + 23  # a quarter, rounded up at each of 23 moments


def test_cases_are_at_most_as_many_as_asked_for_and_the_same_each_time() -> None:
    events = random_events(2000, 30, 20, last_h=99)
    few = Sampling(days=1, groups=40, negatives=10, hours=24, refresh_h=24, seed=3)
    one, two = (draw(events, few, n_users=30, n_posts=20) for _ in range(2))
    n_moments = 23
    assert 0 < len(one.group) <= 40 + n_moments
    np.testing.assert_array_equal(one.matrix, two.matrix)
    np.testing.assert_array_equal(one.grade, two.grade)


def test_a_machine_that_meets_thousands_of_posts_in_an_hour_is_no_case() -> None:
    # User 2 touches 1,001 posts in the hour of 99, user 1 only one; both had touched post 0 before.
    crawled = [(99.0 + post / 2000, 2, post, "view") for post in range(1, 1002)]
    before = [(50.0, user, 0, "view") for user in range(3)]
    cases = draw([*before, (99.2, 1, 5, "view"), *crawled], n_posts=1100)
    assert len(cases.group) == 23  # user 1's, one from each moment before
    assert (cases.grade > 0).sum() == 23
