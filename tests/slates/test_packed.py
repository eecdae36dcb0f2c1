from dataclasses import replace

import pytest
from fakeredis import FakeRedis
from hypothesis import given
from hypothesis import strategies as st
from published import FIRST, Generation, manifest_of, put_packed
from trips import round_trips

from slates.codec import encode_slate
from slates.errors import CodecError
from slates.keys import Keys
from slates.lookup import Lookup, NoFeedError
from slates.packed import Layout

KEYS = Keys()
NOON = FIRST + 12
POSTS = [str(number) for number in range(1, 61)]
TUESDAY = Generation(
    id="tuesday",
    users={"7": {12: "1 2 3", 13: "4 5 6"}, "9": {12: "9"}},
    user_segments={"7": "young", "8": "young"},
    user_acted={"7": "20", "8": "3 30"},
    segments={"young": {12: "3 20 21"}},
    popular={11: "32 33", 12: "20 30 31", 13: "34"},
)


@pytest.mark.parametrize(("n_posts", "width"), [(0, 2), (65_535, 2), (65_536, 4), (5_000_000, 4)])
def test_numbers_take_two_bytes_as_long_as_one_of_them_is_left_for_no_post(n_posts: int, width: int) -> None:
    layout = Layout(hours=1, top_n=2, n_posts=n_posts)
    assert (layout.width, layout.slates_bytes) == (width, 2 * width)
    assert layout.none >= n_posts


@pytest.mark.parametrize("n_posts", [60, 70_000])
@given(
    st.lists(st.lists(st.integers(0, 59), max_size=5), min_size=3, max_size=3),
    st.lists(st.integers(0, 59), max_size=4),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
def test_slates_come_back(n_posts: int, slates: list[list[int]], acted: list[int], segment: str) -> None:
    layout = Layout(hours=3, top_n=5, n_posts=n_posts)
    value = layout.pack(slates, acted, segment)
    for place, slate in enumerate(slates):
        expected = ([POSTS[post] for post in slate], [POSTS[post] for post in acted], segment or None)
        assert layout.unpack(value, place, POSTS) == expected


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_by_name(value: bytes) -> None:
    try:
        found = Layout(hours=2, top_n=3, n_posts=60).unpack(value, 1, POSTS)
    except CodecError:
        return
    assert len(value) >= 14
    assert set(found.slate) | set(found.acted) <= set(POSTS)


@pytest.mark.parametrize("place", [-1, 2])
def test_a_bucket_outside_the_generation_is_refused(place: int) -> None:
    layout = Layout(hours=2, top_n=1, n_posts=1)
    with pytest.raises(CodecError, match="not one of the 2"):
        layout.unpack(layout.pack([[0], [0]], [], ""), place, ["1"])


def feeds(lookup: Lookup) -> list[tuple[list[str], str, list[str]]]:
    found = [lookup.feed(user, FIRST + hour, 8) for user in ("7", "8", "9", "stranger") for hour in (11, 12, 13, 40)]
    return [(feed.post_ids, feed.rung, feed.slate) for feed in found]


def test_packed_slates_answer_what_slates_of_ids_answer() -> None:
    readable, compact = FakeRedis(), FakeRedis()
    TUESDAY.publish(readable)
    put_packed(compact, TUESDAY, POSTS)
    assert feeds(Lookup(compact, KEYS)) == feeds(Lookup(readable, KEYS))


def test_one_round_trip_reads_a_packed_slate_once_the_list_of_posts_is_known() -> None:
    redis = FakeRedis()
    put_packed(redis, TUESDAY, POSTS)
    lookup = Lookup(redis, KEYS)
    lookup.feed("7", NOON, 3)
    with round_trips(redis) as trips:
        assert lookup.feed("7", NOON + 1, 3).post_ids == ["4", "5", "6"]
    assert trips == ["MGET GET ZRANGE"]


def test_the_previous_generation_is_read_by_its_own_codec_and_list() -> None:
    redis = FakeRedis()
    monday = Generation(id="monday", users={"5": {12: "50 51"}}, manifest={"state": "superseded"})
    put_packed(redis, monday, list(reversed(POSTS)))
    newer = replace(TUESDAY, manifest={"previous": "monday"})
    newer.publish(redis)
    assert Lookup(redis, KEYS).feed("5", NOON, 2).post_ids == ["50", "51"]
    lookup = Lookup(redis, KEYS)
    redis.set(KEYS.current, "monday")
    assert lookup.feed("5", NOON, 2).post_ids == ["50", "51"]
    put_packed(redis, newer, POSTS)  # its id is live now; the list of `monday` is known already
    redis.delete(KEYS.posts("monday"))
    feed = lookup.feed("5", NOON, 2)
    assert (feed.post_ids, feed.rung) == (["50", "51"], "previous")


def test_a_broken_string_costs_its_user_the_slate_and_nothing_else() -> None:
    redis = FakeRedis()
    put_packed(redis, TUESDAY, POSTS)
    redis.set(KEYS.user("tuesday", "7"), b"\x01\x00")
    assert Lookup(redis, KEYS).feed("7", NOON, 3).rung == "popular"


def test_a_list_of_posts_that_is_gone_leaves_readers_the_generation_that_they_have() -> None:
    redis = FakeRedis()
    Generation(id="monday", users={"7": {12: "40"}}).publish(redis)
    lookup = Lookup(redis, KEYS)
    assert lookup.feed("7", NOON, 1).post_ids == ["40"]
    put_packed(redis, TUESDAY, POSTS)
    redis.set(KEYS.posts("tuesday"), encode_slate(POSTS[:-1]))
    assert lookup.feed("7", NOON, 1).generation == "monday"
    with pytest.raises(CodecError, match="lists 59 posts, not 60"):
        Lookup(redis, KEYS).feed("7", NOON, 1)
    redis.delete(KEYS.current)
    with pytest.raises(NoFeedError):
        Lookup(redis, KEYS).feed("7", NOON, 1)


def test_the_layout_is_that_of_the_manifest() -> None:
    manifest = manifest_of(replace(TUESDAY, hours=5, manifest={"top_n": 7, "posts": 9}))
    assert Layout.of(manifest) == Layout(hours=5, top_n=7, n_posts=9)
