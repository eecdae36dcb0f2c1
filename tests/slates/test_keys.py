import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slates.keys import Keys, escape_id, unescape_id

ANY_TEXT = st.text(st.characters(codec=None, categories=None))


def test_every_key_is_written_as_documented() -> None:
    keys = Keys()
    assert keys.current == "hourfeed:current"
    assert keys.generations == "hourfeed:generations"
    assert keys.lock == "hourfeed:lock"
    assert keys.seq == "hourfeed:seq"
    assert keys.generation("20211220T150000-7") == "hourfeed:gen:20211220T150000-7"
    assert keys.user("g", "-9223372036854775808") == "hourfeed:gen:g:user:-9223372036854775808"
    assert keys.segment("g", "18-24 f") == "hourfeed:gen:g:segment:18-24%20f"
    assert keys.popular("g") == "hourfeed:gen:g:popular"
    assert keys.last_run == "hourfeed:last_run"
    assert keys.shards("g") == "hourfeed:gen:g:shards"
    assert keys.post("123e4567-e89b-12d3-a456-426614174000") == "hourfeed:post:123e4567-e89b-12d3-a456-426614174000"


def test_a_prefix_of_ones_own_may_hold_colons() -> None:
    assert Keys("team:a").current == "team:a:current"


@pytest.mark.parametrize(
    ("identifier", "escaped"),
    [
        ("42", "42"),
        ("a.b@c.org", "a.b@c.org"),
        ("a:b", "a%3Ab"),
        ("50%", "50%25"),
        ("{x}", "%7Bx%7D"),
        ("two words", "two%20words"),
        ("a\x00\n", "a%00%0A"),
        ("é", "%C3%A9"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_ids_are_escaped_where_they_would_break_a_key_or_a_slate(identifier: str, escaped: str) -> None:
    assert escape_id(identifier) == escaped
    assert unescape_id(escaped) == identifier


@given(ANY_TEXT)
def test_any_id_comes_back_from_plain_characters(identifier: str) -> None:
    escaped = escape_id(identifier)
    assert unescape_id(escaped) == identifier
    assert not re.search(r"[\s:{}\x00-\x20\x7f-\U0010ffff]", escaped)


@given(ANY_TEXT, ANY_TEXT)
def test_two_users_never_share_a_key(one: str, other: str) -> None:
    assert (Keys().user("g", one) == Keys().user("g", other)) == (one == other)
