"""Slates hold what may be shown, in order; pools and shared slates by hand."""

import numpy as np
import pytest
from small_world import make_history, make_tables

from batch.baselines import POST_BASELINES
from batch.candidates import pool_at, retrievers
from batch.features.view import View
from batch.rank import make_scorer
from batch.settings import BatchSettings
from batch.slate import acted_on, make_slates, popular_slate, segment_slates
from batch.tables import HOUR_S

EVENTS = [
    (60.0, 0, 0, "view"),
    (60.0, 1, 0, "view"),
    (60.0, 2, 0, "view"),
    (90.0, 0, 1, "view"),
    (90.5, 0, 1, "like"),
    (91.0, 1, 1, "view"),
    (99.5, 2, 2, "view"),
]


def view_of(**more: object) -> View:
    view = View(make_history(make_tables(EVENTS, n_posts=5, **more)), 100 * HOUR_S)  # type: ignore[arg-type]
    view.pool = pool_at(view, full_catalogue_posts=100, each=2)
    return view


def slates_of(view: View, ranker: str, actions: tuple[str, ...] = ("view", "like"), top_n: int = 3) -> list[list[int]]:
    scorer = make_scorer(ranker, None, view, range(100, 102))
    chunks = list(make_slates(scorer, view, acted_on(view.history, view, actions), 2, top_n))
    posts = np.concatenate([chunk.posts for chunk in chunks])
    assert posts.shape == (3, 2, top_n)
    assert (posts[:, 0] == posts[:, 1]).all()  # a baseline's slates are the same in every bucket
    return [row.tolist() for row in posts[:, 0]]


def test_the_pool_is_ordered_by_popularity_and_leaves_out_what_is_not_there() -> None:
    view = view_of(born_h=[0, 0, 0, 100, 0], hidden=[False, True, False, False, False])
    assert view.pool.tolist() == [2, 0, 4]  # trend of a day: post 2 half an hour ago, post 0 three times 40 hours ago


def test_the_pool_does_not_know_when_a_post_will_be_touched_first() -> None:
    # No post has a date of its own; 0 is touched before the moment, the others never, or only later.
    past = [(60.0, 0, 0, "view")]
    later = [(101.0, 0, 4, "view"), (102.0, 0, 2, "view")]
    before, after = (
        View(make_history(make_tables(events, n_posts=5)), 100 * HOUR_S) for events in (past, [*past, *later])
    )
    for most in (100, 4):
        pools = [pool_at(view, full_catalogue_posts=most, each=2).tolist() for view in (before, after)]
        assert pools[0] == pools[1]
    assert pools[0] == [0, 1]


def test_large_catalogues_are_cut_to_what_the_retrievers_bring() -> None:
    view = view_of(born_h=[10, 20, 30, 40, 50])
    found = pool_at(view, full_catalogue_posts=4, each=1)
    assert {view.history.tables.posts.ids[post] for post in found} == {104, 102, 101, 100}
    assert set(retrievers(view)) == {"fresh", "trending_2h", "trending_24h", "popular_7d", "popular", "similar"}


def test_acted_on_posts_are_not_shown_again() -> None:
    assert slates_of(view_of(), "popular_all") == [[2, 3, 4], [2, 3, 4], [1, 3, 4]]


def test_which_actions_count_is_a_setting() -> None:
    assert slates_of(view_of(), "popular_all", ("like",))[0][:2] == [0, 2]
    assert slates_of(view_of(), "popular_all", ("like",))[1][:2] == [1, 0]


def test_own_posts_are_not_shown_to_their_author() -> None:
    view = view_of(author=["", "", "", "11", "stranger"])
    assert slates_of(view, "popular_all")[1] == [2, 4, -1]
    assert slates_of(view, "popular_all")[0] == [2, 3, 4]


def test_slates_are_padded_where_posts_run_out() -> None:
    assert slates_of(view_of(), "popular_all", top_n=6)[2] == [1, 3, 4, -1, -1, -1]


@pytest.mark.parametrize(
    ("ranker", "scores"),
    [
        ("popular_all", [3, 3, 1, 0, 0]),
        ("popular_24h", [0, 3, 1, 0, 0]),
        ("popular_6h", [0, 0, 1, 0, 0]),
        ("popular_1h", [0, 0, 1, 0, 0]),
    ],
)
def test_popular_baselines_count_every_event_of_their_window(ranker: str, scores: list[int]) -> None:
    assert POST_BASELINES[ranker](view_of()).tolist() == scores


def test_newest_puts_the_youngest_first_and_the_undated_last() -> None:
    view = view_of(born_h=[10, 50, 20, -np.inf, 99])
    assert np.argsort(-POST_BASELINES["newest"](view), kind="stable").tolist() == [4, 1, 2, 0, 3]


def test_item_knn_recommends_what_others_touched_along_with_it() -> None:
    events = [(10.0, 0, 0, "view"), (11.0, 0, 3, "view"), (12.0, 1, 0, "view"), (99.0, 2, 2, "view")]
    view = View(make_history(make_tables(events, n_posts=5)), 100 * HOUR_S)
    view.pool = pool_at(view, full_catalogue_posts=100, each=2)
    assert slates_of(view, "item_knn")[1][:2] == [3, 2]  # then what trends
    assert slates_of(view, "item_knn_recency")[1][:2] == [3, 2]


def test_every_ranker_of_the_settings_can_score() -> None:
    rankers = BatchSettings.model_fields["ranker"].annotation.__args__  # type: ignore[union-attr]
    trained = {"lightgbm", "neural"}
    for ranker in set(rankers) - trained:
        assert len(slates_of(view_of(), ranker)) == 3
    for ranker in trained:
        with pytest.raises(ValueError, match="with a model"):
            make_scorer(ranker, None, view_of(), range(100, 101))


def test_popular_slate_counts_the_last_day_then_falls_back_on_the_trend() -> None:
    assert popular_slate(view_of(), 10).tolist() == [1, 2, 0, 3, 4]
    assert popular_slate(view_of(), 2).tolist() == [1, 2]


def test_segment_slates_lean_towards_what_the_segment_touches() -> None:
    events = [(99.0, user, user % 2, "view") for user in range(60)]
    country = np.array(["AT", "BR"] * 30, dtype=object)
    view = View(make_history(make_tables(events, n_users=60, profile={"country": country})), 100 * HOUR_S)
    assert [slate.tolist() for slate in segment_slates(view, 2)] == [[0, 1], [1, 0]]
