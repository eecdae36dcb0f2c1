from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from batch.encode import IdsEncoder, PackedEncoder
from batch.tables import Posts
from slates.codec import decode_slate, encode_slate
from slates.entry import Entry, row_entry
from slates.packed import Layout

NAMES = ["2021122015", "2021122016"]
POSTS = ("7", "with space", "a:b", "100%", "пост", "{x}", "%20", "-9223372036854775808")
NO_POSTS = np.zeros(0, dtype=np.int64)


def posts_of(ids: NDArray[Any]) -> Posts:
    empty, zeros = np.full(len(ids), "", dtype=object), np.zeros(len(ids))
    return Posts(ids, empty, empty, empty, zeros.astype(bool), zeros, zeros)


ALL_POSTS = posts_of(np.array(POSTS, dtype=object))
IDS = IdsEncoder(ALL_POSTS, NAMES, ttl_s=3600)


def slates(*of_users: list[list[int]]) -> NDArray[np.int32]:
    return np.array(of_users, dtype=np.int32)


def ids_entries(posts: NDArray[np.int32], encoder: IdsEncoder = IDS) -> list[Entry]:
    return [encoder.entry("k", body, NO_POSTS, "") for body in encoder.bodies(posts)]


def stored(posts: NDArray[np.int32], encoder: IdsEncoder = IDS) -> list[list[bytes]]:
    return [list(dict(entry.stored()).values()) for entry in ids_entries(posts, encoder)]  # type: ignore[arg-type]


@pytest.mark.parametrize("place", range(len(POSTS)))
def test_any_post_id_comes_back_from_a_slate(place: int) -> None:
    ((first, _),) = stored(slates([[place, 0, place], [0, 0, 0]]))
    assert decode_slate(first) == [POSTS[place], "7", POSTS[place]]


def test_slates_are_words_between_single_spaces() -> None:
    (encoded,) = stored(slates([[0, 1, 2], [3, 4, 6]]))
    assert encoded == [b"7 with%20space a%3Ab", b"100%25 %D0%BF%D0%BE%D1%81%D1%82 %2520"]


def test_places_without_a_post_are_left_out_of_each_slate_by_itself() -> None:
    encoded = stored(slates([[0, 1, -1], [2, -1, -1]], [[-1, -1, -1], [0, 0, 0]], [[3, -1, 0], [-1, 2, 3]]))
    assert encoded == [[b"7 with%20space", b"a%3Ab"], [b"", b"7 7 7"], [b"100%25 7", b"a%3Ab 100%25"]]


def test_a_chunk_of_no_users_and_slates_of_no_places_are_fine() -> None:
    assert stored(np.zeros((0, 2, 3), dtype=np.int32)) == []
    assert stored(np.zeros((1, 2, 0), dtype=np.int32)) == [[b"", b""]]


def test_integer_ids_are_written_in_decimal_negative_too() -> None:
    encoder = IdsEncoder(posts_of(np.array([-5, 0, 2**63 - 1])), NAMES[:1], ttl_s=3600)
    assert stored(slates([[2, 0, 1]]), encoder) == [[b"9223372036854775807 -5 0"]]


def test_a_slate_too_few_or_a_bucket_too_many_is_an_error_not_a_shift() -> None:
    with pytest.raises(ValueError, match="1 slates of a user for 2 buckets"):
        list(IDS.bodies(slates([[0]])))
    with pytest.raises(ValueError, match=r"slates of shape \(1, 3\) for 2 buckets × 3 posts"):
        list(PackedEncoder(Layout(2, 3, 8), NO_POSTS, 8, ttl_s=3600).bodies(slates([[0, 1, 2]])))


CHUNKS = st.integers(0, 40).flatmap(
    lambda top_n: st.lists(
        st.lists(st.lists(st.integers(-1, 7), min_size=top_n, max_size=top_n), min_size=2, max_size=2),
        min_size=1,
        max_size=4,
    ).map(lambda of_users: np.array(of_users, dtype=np.int32).reshape(len(of_users), 2, top_n))
)


@given(CHUNKS, st.lists(st.integers(0, 7), max_size=3), st.sampled_from(["", "gender=1", "Ж"]))
def test_in_bulk_come_the_same_bytes_as_one_by_one(posts: NDArray[np.int32], acted: list[int], segment: str) -> None:
    made = [IDS.entry("k", body, np.array(acted, dtype=np.int64), segment) for body in IDS.bodies(posts)]
    for entry, of_user in zip(made, posts, strict=True):
        listed = [encode_slate(POSTS[post] for post in row if post >= 0) for row in of_user]
        fields: dict[str, bytes] = dict(zip(NAMES, listed, strict=True))
        longest = max(map(len, listed))
        fields |= {"segment": segment.encode()} if segment else {}
        fields |= {"acted": encode_slate(POSTS[post] for post in acted)} if acted else {}
        assert entry == row_entry(("k", fields), 3600, longest=longest)


@given(CHUNKS, st.lists(st.sampled_from([0, 2, 7]), max_size=3), st.sampled_from(["", "gender=1", "Ж"]))
def test_packed_slates_hold_the_places_of_posts_in_the_list(
    posts: NDArray[np.int32], acted: list[int], segment: str
) -> None:
    pool = np.array([7, 0, 2])
    layout = Layout(hours=2, top_n=posts.shape[2], n_posts=3)
    shown = np.where(np.isin(posts, pool), posts, -1).astype(np.int32)
    encoder = PackedEncoder(layout, pool, len(POSTS), ttl_s=3600)
    made = [encoder.entry("k", body, np.array(acted, dtype=np.int64), segment) for body in encoder.bodies(shown)]
    listed = [POSTS[post] for post in pool]
    for entry, of_user in zip(made, shown, strict=True):
        value = entry.stored()
        assert isinstance(value, bytes)
        assert (entry.size, entry.value_bytes, entry.values) == (
            len(value),
            len(value),
            2 + bool(segment) + bool(acted),
        )
        for place, row in enumerate(of_user):
            unpacked = layout.unpack(value, place, listed)
            assert unpacked.slate == [POSTS[post] for post in row if post >= 0]
            assert (unpacked.acted, unpacked.segment) == ([POSTS[post] for post in acted], segment or None)
