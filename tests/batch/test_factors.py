"""User vectors: one fit a day, what happens since is folded in, and nothing of later is seen."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numba
import numpy as np
import pytest
from scipy import sparse
from small_world import make_history, make_tables, random_events

from batch.features import factors
from batch.features.factors import post_vectors, touch_matrix, user_vectors, vector_scores
from batch.features.view import View
from batch.rank import make_scorer
from batch.settings import BatchSettings
from batch.slate import acted_on, pick_slates
from batch.tables import HOUR_S, Events, Tables

KINDS: tuple[Literal["als", "bpr"], ...] = ("als", "bpr")
EVENTS = random_events(900, 30, 24, last_h=130, seed=5)
"""Users touch posts of their own remainder by three, mostly."""


def tables_of(events: list[tuple[float, int, int, str]]) -> Tables:
    return make_tables(events, n_users=32, n_posts=26, as_of_h=140)


def view_at(hours: float, tables: Tables | None = None) -> View:
    return View(make_history(tables or tables_of(EVENTS)), int(hours * HOUR_S))


def test_a_touch_weighs_half_after_two_weeks() -> None:
    found = touch_matrix(view_at(400, make_tables([(64.0, 0, 1, "view"), (400.0, 0, 2, "view")])), 400 * HOUR_S)
    assert found.toarray()[0].tolist() == pytest.approx([0, 10 * 0.5, 0, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_users_prefer_what_users_like_them_touched(kind: Literal["als", "bpr"]) -> None:
    view = view_at(96)  # a midnight: all is in the fit
    scores = vector_scores(view, np.arange(30), kind)
    own = np.arange(24)[None, :] % 3 == np.arange(30)[:, None] % 3
    assert scores[:, :24][own].mean() > 1.5 * scores[:, :24][~own].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_one_fit_serves_a_day_and_the_next_midnight_brings_another(
    kind: Literal["als", "bpr"], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    fit = factors._fit

    def counted(touched: sparse.csr_matrix, of: Literal["als", "bpr"]) -> factors.Factors:
        fits.append(touched.nnz)
        return fit(touched, of)

    monkeypatch.setattr(factors, "_fit", counted)
    history = make_history(tables_of(EVENTS))
    for hours in (96, 97.5, 119.9, 120, 125):
        vector_scores(View(history, int(hours * HOUR_S)), np.arange(3), kind)
    assert len(fits) == 2
    assert fits[0] < fits[1]


def test_new_posts_and_new_users_are_folded_in_without_a_fit() -> None:
    # After midnight, users of remainder 0 touch the new post 24, and the new user 30 touches one of their posts.
    since = [(96.2, user, 24, "view") for user in (0, 3, 6, 9, 12, 15)] + [(96.5, 30, 3, "view"), (96.6, 30, 6, "view")]
    history = make_history(tables_of([event for event in EVENTS if event[0] < 96] + since))
    before, after = View(history, 96 * HOUR_S), View(history, 97 * HOUR_S)
    assert not user_vectors(before, np.array([30]), "als").any()
    assert not post_vectors(before, "als")[24].any()
    scores = vector_scores(after, np.array([30, 18, 1, 31]), "als")
    assert scores[0, 24] > 0.05  # the new user and the new post, through those that touched both
    assert scores[1, 24] > 2 * scores[2, 24]  # user 18 is of their kind, user 1 is not
    assert not scores[3].any()  # nothing is known of user 31


def test_the_folded_vector_solves_the_weighted_least_squares() -> None:
    # Hu, Koren and Volinsky (2008), equation 4: x = (YᵀY + Yᵀ(C - I)Y + λI)⁻¹ Yᵀ C p.
    view = view_at(100)
    events = view.history.tables.events
    since = (events.at_s >= 96 * HOUR_S) & (events.at_s < view.tau_s)
    users = np.unique(events.user[since]).astype(np.int64)
    assert len(users) > 3
    posts = post_vectors(view, "als").astype(np.float64)
    touched = touch_matrix(view, view.tau_s).toarray().astype(np.float64)
    found = user_vectors(view, users, "als")
    for user, vector in zip(users, found, strict=True):
        confidence = np.where(touched[user] > 0, touched[user], 1.0)
        left = posts.T @ (confidence[:, None] * posts) + factors.REGULARIZATION * np.eye(factors.DIMS)
        expected = np.linalg.solve(left, posts.T @ (confidence * (touched[user] > 0)))
        np.testing.assert_allclose(vector, expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_do_not_look_ahead_and_are_the_same_bytes_again(kind: Literal["als", "bpr"]) -> None:
    tables = tables_of(EVENTS)
    events = tables.events
    past = events.at_s < 110 * HOUR_S
    changed = Events(
        events.at_s, events.user, np.where(past, events.post, (events.post + 5) % 24).astype(np.int32), events.action
    )
    users = np.arange(32)
    one, again = (vector_scores(view_at(110, tables), users, kind) for _ in range(2))
    other = vector_scores(view_at(110, replace(tables, events=changed)), users, kind)
    assert one.any()
    assert one.tobytes() == again.tobytes() == other.tobytes()
    # A history that has served a later moment gives an earlier one the same.
    history = make_history(tables)
    vector_scores(View(history, 135 * HOUR_S), users, kind)
    assert vector_scores(View(history, 110 * HOUR_S), users, kind).tobytes() == one.tobytes()


def test_vectors_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(numba, "get_num_threads", lambda threads=threads: threads)
        found.append(vector_scores(view_at(110), np.arange(32), "als"))
    assert found[0].tobytes() == found[1].tobytes()


def test_histories_of_the_same_tables_share_the_latest_fits_whatever_else_they_know() -> None:
    one = make_history(tables_of(EVENTS))
    other = replace(one, kept={})
    for day in (1, 2, 3, 4, 5):
        vector_scores(View(one, day * 24 * HOUR_S), np.arange(3), "als")
    known = dict(other.orders.kept["als fitted"])
    assert sorted(known) == [day * 24 * HOUR_S for day in (2, 3, 4, 5)]
    vector_scores(View(other, 3 * 24 * HOUR_S + 5), np.arange(3), "als")
    assert all(other.orders.kept["als fitted"][at_s] is fit for at_s, fit in known.items())


@pytest.mark.parametrize("ranker", ["als", "bpr", "user_knn", "user_knn_trend"])
def test_collaborative_rankers_make_whole_slates_even_where_there_is_no_event(ranker: str, tmp_path: Path) -> None:
    assert BatchSettings(ranker=ranker).ranker == ranker
    for events in (EVENTS, []):
        view = view_at(100, tables_of(events))
        scorer = make_scorer(ranker, None, view, range(100, 102))
        acted = acted_on(view.history, view, ["like"])
        slates = pick_slates(scorer, view, acted, np.array([0, 31]), 5)
        assert (slates >= 0).all()
        assert (np.diff(np.sort(slates, axis=2), axis=2) > 0).all()
