import pytest
from hypothesis import given
from hypothesis import strategies as st

from slates.codec import decode_slate, encode_slate
from slates.errors import CodecError

ANY_ID = st.text(st.characters(codec=None, categories=None), min_size=1)


def test_a_slate_is_its_ids_with_spaces_between() -> None:
    assert encode_slate(["3", "-1", "9223372036854775807"]) == b"3 -1 9223372036854775807"
    assert decode_slate(b"3 -1 9223372036854775807") == ["3", "-1", "9223372036854775807"]


def test_ids_that_hold_spaces_or_more_are_escaped() -> None:
    assert encode_slate(["a b", "ж:1", "50%"]) == b"a%20b %D0%B6%3A1 50%25"


def test_an_empty_slate_is_empty() -> None:
    assert encode_slate([]) == b""
    assert decode_slate(b"") == []


@given(st.lists(ANY_ID))
def test_any_ids_come_back_in_order(post_ids: list[str]) -> None:
    assert decode_slate(encode_slate(post_ids)) == post_ids


@pytest.mark.parametrize("value", [b" ", b"1  2", b"1 ", b" 1", b"\xff", b"1 %FF", b"1 %ED%A0"])
def test_what_no_slate_looks_like_is_refused(value: bytes) -> None:
    with pytest.raises(CodecError, match="is not a slate"):
        decode_slate(value)


@given(st.binary())
def test_any_bytes_are_read_or_refused_by_name(value: bytes) -> None:
    try:
        post_ids = decode_slate(value)
    except CodecError:
        return
    assert all(post_ids)


def test_an_empty_id_is_never_written() -> None:
    with pytest.raises(CodecError, match="empty id"):
        encode_slate(["1", ""])
