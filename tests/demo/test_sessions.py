"""The log against the figures of the course's; about a million views, so that 2 % of a rate are beyond chance."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from demo.exposure import group_shares
from demo.likes import CELL_RATES
from demo.network import GROUPS, SEGMENTS
from demo.parameters import Parameters
from demo.sessions import Network, events_of_block, make_network

PARAMETERS = Parameters(
    users=8_000, posts=4_000, days=28, activity=0.18, seed=11, end=datetime(2026, 3, 10, 15, tzinfo=UTC)
)


@pytest.fixture(scope="module")
def network() -> Network:
    return make_network(PARAMETERS)


@pytest.fixture(scope="module")
def events(network: Network) -> pd.DataFrame:
    """Events by user and time, with the hidden columns of users and posts."""
    raw = np.concatenate([events_of_block(network, block) for block in range(network.blocks)])
    frame = pd.DataFrame({name: raw[name] for name in ("time_s", "user", "post", "like", "target")})
    users, posts = network.users, network.posts
    frame["segment"], frame["group"] = users.segment[frame["user"]], posts.group[frame["post"]]
    frame["exp_group"], frame["gender"] = users.exp_group[frame["user"]], users.gender[frame["user"]]
    frame["country"], frame["os"] = users.country[frame["user"]], users.os[frame["user"]]
    frame["hour"], frame["day"] = frame["time_s"] // 3_600 % 24, frame["time_s"] // 86_400
    return frame.sort_values(["user", "time_s"], ignore_index=True)


@pytest.fixture(scope="module")
def views(events: pd.DataFrame) -> pd.DataFrame:
    return events[~events["like"]].reset_index(drop=True)


def test_no_event_lies_outside_the_log(events: pd.DataFrame) -> None:
    assert events["time_s"].min() >= PARAMETERS.start_s
    assert events["time_s"].max() < PARAMETERS.end_s
    assert events["time_s"].max() > PARAMETERS.end_s - 300  # and it runs up to its end


def test_nobody_is_there_at_night(events: pd.DataFrame) -> None:
    assert events["hour"].min() == 6


def test_sessions_start_evenly_from_6_to_22(views: pd.DataFrame) -> None:
    starts = views.groupby(["user", "day"])["hour"].first().value_counts(normalize=True).sort_index()

    assert list(starts.index[:17]) == list(range(6, 23))
    assert starts.loc[6:22].min() > 1 / 17 * 0.8
    assert starts.loc[6:22].max() < 1 / 17 * 1.25  # the last start of a day moves up, so that it ends by midnight


def test_a_day_has_one_session_of_29_views_in_44_minutes(views: pd.DataFrame) -> None:
    whole = views[(views["day"] > PARAMETERS.first_day) & (views["day"] < PARAMETERS.last_day)]
    sessions = whole.groupby(["user", "day"])["time_s"].agg(["size", "min", "max"])

    assert sessions["size"].mean() == pytest.approx(28.9, abs=0.5)
    assert ((sessions["max"] - sessions["min"]) / 60).mean() == pytest.approx(44, abs=1.5)


def test_views_of_a_session_lie_10_to_180_seconds_apart(views: pd.DataFrame) -> None:
    gap = views.groupby(["user", "day"])["time_s"].diff().dropna()

    assert gap.min() == 10
    # A view that found nothing new to show is left out, which joins two gaps; that is rare.
    assert (gap <= 180).mean() > 0.999


def test_a_like_follows_its_view_after_8_to_177_seconds_as_a_row_of_its_own(events: pd.DataFrame) -> None:
    liked = np.flatnonzero(events["like"])
    before = events.iloc[liked - 1].reset_index(drop=True)
    likes = events.iloc[liked].reset_index(drop=True)

    assert (before["user"] == likes["user"]).all()
    assert (before["post"] == likes["post"]).all()
    assert before["target"].all()
    delay = likes["time_s"] - before["time_s"]
    assert (delay.min(), delay.max()) == (8, 177)


def test_target_marks_the_liked_views_and_nothing_else(events: pd.DataFrame) -> None:
    assert not events.loc[events["like"], "target"].any()
    assert events["target"].sum() == events["like"].sum()


def test_a_like_that_would_lie_beyond_the_end_is_not_foretold_by_its_view(network: Network) -> None:
    cut = Parameters(users=500, posts=50, days=1, activity=1.0, cold_share=0.0, end=PARAMETERS.end)
    events = events_of_block(make_network(cut), 0)

    assert events["time_s"].max() < cut.end_s
    assert events["target"].sum() == events["like"].sum()
    assert (~events["like"] & (events["time_s"] >= cut.end_s - 177)).any()


def test_about_one_pair_in_22_repeats(views: pd.DataFrame) -> None:
    times_shown = views.groupby(["user", "post"]).size()

    assert (times_shown > 1).mean() == pytest.approx(0.045, abs=0.004)


def test_cold_users_have_no_event_and_nearly_all_others_have_some(network: Network, views: pd.DataFrame) -> None:
    seen = np.zeros(PARAMETERS.users, dtype=bool)
    seen[views["user"].unique()] = True

    assert network.users.cold.sum() == 160
    assert not seen[network.users.cold].any()
    assert seen[~network.users.cold].mean() > 0.98


def test_nobody_acts_before_joining(network: Network, views: pd.DataFrame) -> None:
    joined = network.users.joined_day[views["user"]] + PARAMETERS.first_day

    assert (views["day"] >= joined).all()


def test_the_log_grows(views: pd.DataFrame) -> None:
    day = views["day"] - PARAMETERS.first_day

    assert ((day >= 21) & (day < 28)).sum() > 1.2 * ((day >= 1) & (day < 8)).sum()


def test_no_post_is_shown_before_it_is_published(network: Network, views: pd.DataFrame) -> None:
    published_s = network.posts.published_s[views["post"]]

    assert (views["time_s"] >= published_s).all()
    age_d = (views["time_s"] - published_s) / 86_400
    assert 0 < age_d.min() < 0.05  # and some within the hour


def test_fresh_posts_are_shown_more_often(network: Network, views: pd.DataFrame) -> None:
    last_day = views[views["day"] == PARAMETERS.last_day - 1]
    age_d = (last_day["time_s"] - network.posts.published_s[last_day["post"]]) / 86_400

    # 2,000 posts over 28 days, 1.3 of the mean rate at the end: about 90 a day. With a half-life of 3 days, a post of
    # 15 days has 0.1 + 0.9 / 32 = 0.128 of the weight of a new one; its day had about 1.14 of the mean rate.
    new, old = (age_d < 1).sum(), ((age_d >= 14.5) & (age_d < 15.5)).sum()
    assert 4 < new / old < 11


def test_like_rates_by_segment_and_group_are_those_of_the_course(views: pd.DataFrame) -> None:
    rates = views.groupby(["segment", "group"])["target"].mean().unstack().to_numpy()

    # The smallest cell has 10,000 views: 0.003 is one standard error at .1; tastes of few posts add to it.
    np.testing.assert_allclose(rates, CELL_RATES, rtol=0.06, atol=0.006)


def test_segment_c_is_shown_3_6_times_as_much_of_what_it_dislikes(views: pd.DataFrame) -> None:
    arena, c = GROUPS.index("arena"), SEGMENTS.index("C")
    share = (views["group"] == arena).groupby(views["segment"] == c).mean()

    # A little less than 3.6, because whoever has seen the fresh posts of a group is shown another's.
    assert 2.9 < share[True] / share[False] < 3.7


def test_group_shares_add_up_and_keep_what_was_shown_over_all() -> None:
    posts = np.array([4_200, 1_100, 520, 950])
    shares = group_shares(posts)

    assert shares.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    # Views: 28.14, 18.7, 11.44 and 7.79 million, so arena has 11.44 / 66.07 = .1732 of them, which is
    # x · .85 + 3.6 x · .15 = 1.39 x with x = .1246 for A and B and .4484 for C.
    assert shares[:, 2].tolist() == pytest.approx([0.1246, 0.1246, 0.4484], abs=0.0002)
    assert shares[2, 0] / shares[2, 1] == pytest.approx(28.14 / 18.7)


def test_like_rate_rises_over_the_thirds_of_the_log(views: pd.DataFrame) -> None:
    third = (views["time_s"] - PARAMETERS.start_s) * 3 // (PARAMETERS.end_s - PARAMETERS.start_s)
    rates = views.groupby(third)["target"].mean()
    overall = views["target"].mean()

    # The course's months .094, .125 and .140 around .1195.
    assert (rates / overall).tolist() == pytest.approx([0.79, 1.03, 1.15], abs=0.06)


def test_like_rate_by_hour_is_high_in_the_morning_and_the_evening(views: pd.DataFrame) -> None:
    overall = views["target"].mean()
    rates = views.groupby("hour")["target"].mean() / overall

    assert rates[6] == pytest.approx(0.137 / 0.1195, abs=0.08)
    assert rates.loc[8:17].between(0.80, 0.99).all()
    assert rates.loc[19:22].between(1.14, 1.34).all()


def test_like_rate_by_profile_is_that_of_the_course(views: pd.DataFrame) -> None:
    overall = views["target"].mean()
    by_group = (views.groupby("exp_group")["target"].mean() / overall).tolist()
    by_gender = views.groupby("gender")["target"].mean()
    by_country = views.groupby("country")["target"].mean()
    by_os = views.groupby("os")["target"].mean()

    assert by_group == pytest.approx([0.83, 1.19, 1.19, 0.83, 0.95], abs=0.05)
    assert by_gender[1] / by_gender[0] == pytest.approx(0.125 / 0.111, abs=0.05)
    assert by_country["Ukraine"] / by_country["Russia"] == pytest.approx(0.161 / 0.114, abs=0.12)
    assert by_os["iOS"] / by_os["Android"] == pytest.approx(1, abs=0.04)


def test_overall_like_rate_is_near_the_courses(views: pd.DataFrame) -> None:
    assert views["target"].mean() == pytest.approx(0.1195, abs=0.008)


def test_the_oracle_agrees_with_what_was_liked_in_every_tenth_of_its_range(
    network: Network, views: pd.DataFrame
) -> None:
    probability = network.oracle.like_probability(
        network.users.user_id[views["user"]], network.posts.post_id[views["post"]], views["time_s"] // 3_600
    )
    tenth = pd.qcut(probability, 10, labels=False)
    told, liked = pd.Series(probability).groupby(tenth).mean(), views["target"].groupby(tenth).mean()

    views_of_tenth = len(views) / 10
    error = np.sqrt(told * (1 - told) / views_of_tenth)
    assert (np.abs(told - liked) < 4 * error).all()
    assert liked[9] > 4 * liked[0]  # there is something to learn


def test_a_block_of_users_does_not_depend_on_any_other(network: Network) -> None:
    alone = events_of_block(make_network(PARAMETERS), 3)
    after_others = [events_of_block(network, block) for block in (7, 0, 3)][2]

    np.testing.assert_array_equal(alone, after_others)


def test_users_who_have_seen_every_post_get_shorter_sessions_not_repeats() -> None:
    tiny = make_network(Parameters(users=50, posts=40, days=14, activity=1.0, cold_share=0.0))
    raw = events_of_block(tiny, 0)
    shown = pd.DataFrame({name: raw[name][~raw["like"]] for name in ("user", "post")}).groupby(["user", "post"]).size()

    assert shown.groupby("user").size().max() <= 40
    assert shown.max() < 12
    assert (shown == 1).mean() > 0.4
