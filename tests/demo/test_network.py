from datetime import UTC, datetime

import numpy as np
import pytest

from demo.errors import DemoError
from demo.network import GROUPS, SEGMENTS, TOPICS, make_posts, make_users, segment_of
from demo.parameters import Parameters
from demo.places import cities_by_country
from demo.texts import write_text
from demo.words import GROUP_WORDS

PARAMETERS = Parameters(users=20_000, posts=7_023, days=90, seed=5)


def test_user_ids_rise_with_gaps() -> None:
    ids = make_users(PARAMETERS).user_id

    assert set(np.diff(ids).tolist()) == {1, 2}
    assert ids[0] in {201, 202}
    assert ids[-1] - ids[0] == pytest.approx(20_000 * 168_352 / 163_205, rel=0.005)


def test_profiles_have_the_proportions_of_the_course() -> None:
    frame = make_users(PARAMETERS).frame()

    assert list(frame) == ["user_id", "gender", "age", "country", "city", "exp_group", "os", "source"]
    assert not frame.isna().any().any()
    assert frame["age"].median() == 24
    assert frame["age"].between(14, 95).all()
    assert (frame["age"] == 14).any()
    assert frame["age"].gt(85).any()
    assert frame["age"].mean() > 26  # skewed to the right of the median
    assert frame["gender"].mean() == pytest.approx(0.551, abs=0.015)
    assert (frame["os"] == "Android").mean() == pytest.approx(0.649, abs=0.015)
    assert (frame["source"] == "ads").mean() == pytest.approx(0.623, abs=0.015)
    assert frame["country"].nunique() == 11
    assert (frame["country"] == "Russia").mean() == pytest.approx(0.876, abs=0.01)
    assert frame["exp_group"].value_counts(normalize=True).sort_index().tolist() == pytest.approx([0.2] * 5, abs=0.012)


def test_cities_follow_zipf_behind_moscow() -> None:
    counts = make_users(PARAMETERS).frame()["city"].value_counts()

    assert counts.index[0] == "Moscow"
    assert counts.iloc[0] / 20_000 == pytest.approx(0.134, abs=0.015)
    assert counts.size > 1_500
    assert (counts == 1).mean() > 0.15


def test_the_catalogue_holds_as_many_cities_as_the_course_and_none_twice() -> None:
    names = [name for names, _ in cities_by_country() for name in names]

    assert len(names) == pytest.approx(3_915, abs=20)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("age", "segment"), [(14, "A"), (22, "A"), (23, "B"), (27, "B"), (28, "C"), (34, "C"), (35, "A"), (95, "A")]
)
def test_segments_break_at_the_ages_of_the_course(age: int, segment: str) -> None:
    assert SEGMENTS[segment_of(np.array([age]))[0]] == segment


@pytest.mark.parametrize("users", [200, 2_000])
def test_segments_keep_their_shares_in_small_networks(users: int) -> None:
    segment = make_users(Parameters(users=users)).segment

    assert (np.bincount(segment) / users).tolist() == pytest.approx([0.57, 0.28, 0.15], abs=0.011)


def test_cold_users_are_as_many_as_asked() -> None:
    assert make_users(Parameters(users=1_000, cold_share=0.05)).cold.sum() == 50


def test_users_join_over_the_log() -> None:
    joined = make_users(PARAMETERS).joined_day

    assert (joined == 0).mean() == pytest.approx(0.6, abs=0.03)
    assert 75 <= joined.max() < 91


def test_topics_are_contiguous_by_id_and_have_the_shares_of_the_course() -> None:
    posts = make_posts(PARAMETERS)

    assert (np.diff(posts.post_id) >= 1).all()
    assert posts.post_id[-1] > 7_023
    assert (np.diff(posts.topic) >= 0).all()
    assert np.bincount(posts.topic).tolist() == list(TOPICS.values())  # 7,023 posts: exactly the course's


@pytest.mark.parametrize("posts", [30, 600, 7_023])
def test_some_post_of_every_group_is_there_before_the_log_starts(posts: int) -> None:
    parameters = Parameters(posts=posts)
    made = make_posts(parameters)

    before = made.published_s < parameters.start_s
    assert set(made.group[before]) == set(range(len(GROUPS)))


def test_half_of_the_posts_appear_over_the_log_and_ever_faster() -> None:
    posts = make_posts(PARAMETERS)
    day = (posts.published_s - PARAMETERS.start_s) / 86_400

    assert (day < 0).mean() == pytest.approx(0.5, abs=0.005)
    assert day.min() >= -1.5 * 90 - 1
    assert day.max() < 90
    # The rate grows from 0.7 to 1.3 of its mean: the first half of the log has (0.7 + 1.0) / 2 of half the posts.
    assert ((day >= 0) & (day < 45)).sum() / (day >= 0).sum() == pytest.approx(0.425, abs=0.03)


def test_published_at_is_a_column_only_where_asked_for() -> None:
    small = Parameters(posts=20)

    assert list(make_posts(small).frame(small)) == ["post_id", "text", "topic", "published_at"]
    bare = Parameters(posts=20, published_at=False)
    assert list(make_posts(bare).frame(bare)) == ["post_id", "text", "topic"]


@pytest.mark.parametrize("topic", list(TOPICS))
def test_texts_are_sentences_whose_length_fits_the_topic(topic: str) -> None:
    texts = [write_text(seed, topic, "arena") for seed in range(60)]

    assert len(set(texts)) == 60
    for text in texts:
        assert text[0] == text[0].upper()
        assert "{" not in text
        assert " a i" not in text
    mean = sum(map(len, texts)) / 60
    assert mean < 300 if topic == "covid" else 500 < mean < 2_500


@pytest.mark.parametrize("group", GROUPS)
def test_texts_give_the_group_away_by_its_turns_of_phrase(group: str) -> None:
    texts = [write_text(seed, "movie", group) for seed in range(40)]

    by_group = {other: sum(text.count(turn) for text in texts for turn in GROUP_WORDS[other]) for other in GROUPS}
    assert max(by_group, key=lambda other: by_group[other]) == group
    assert by_group[group] > 40
    assert sum(by_group.values()) == by_group[group]


def test_equal_seeds_write_equal_texts() -> None:
    assert write_text(7, "tech", "insider") == write_text(7, "tech", "insider")
    assert write_text(7, "tech", "insider") != write_text(8, "tech", "insider")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"users": 0}, "users = 0 is out of bounds; it goes from 1 to 10,000,000"),
        ({"activity": 1.5}, "activity = 1.5"),
        ({"end": datetime(2021, 12, 30)}, "has no time zone"),  # noqa: DTZ001 - the case
        ({"days": 600, "half_life_d": 1.0}, "it must be 1.2 or more"),
    ],
)
def test_parameters_out_of_bounds_are_refused_with_what_is_allowed(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(DemoError, match=message):
        Parameters(**wrong)  # type: ignore[arg-type]


def test_the_end_is_the_start_of_its_hour() -> None:
    parameters = Parameters(end=datetime(2026, 1, 15, 14, 59, 30, tzinfo=UTC), days=14)

    assert parameters.end == datetime(2026, 1, 15, 14, tzinfo=UTC)
    assert parameters.end_s - parameters.start_s == 14 * 86_400
    assert parameters.last_day - parameters.first_day == 14  # fifteen calendar days are touched
