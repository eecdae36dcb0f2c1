import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from server.parameters import ParameterError, canonical_id, read_id, read_limit, read_time


def arguments(**given: str) -> MultiDict[str, str]:
    return MultiDict(given)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021-12-20T15:30:00Z", "2021-12-20T15:30"),
        ("2021-12-20T15:30:00z", "2021-12-20T15:30"),
        ("2021-12-20t15:30", "2021-12-20T15:30"),
        ("2021-12-20 15:30:00", "2021-12-20T15:30"),
        (" 2021-12-20T15:30 ", "2021-12-20T15:30"),
        ("20211220T153000Z", "2021-12-20T15:30"),
        ("2021-12-20T15", "2021-12-20T15:00"),
        ("2021-12-20", "2021-12-20T00:00"),
        ("2021-12", "2021-12-01T00:00"),
        ("2021", "2021-01-01T00:00"),
        ("2021-354", "2021-12-20T00:00"),  # the 354th day
        ("2021354T15", "2021-12-20T15:00"),
        ("2021-W51-1", "2021-12-20T00:00"),  # Monday of the 51st week
        ("2021-W51-1T15:30", "2021-12-20T15:30"),
        ("2021-12-20T24:00", "2021-12-21T00:00"),
        ("2021-12-20T18:30:00+03:00", "2021-12-20T15:30"),
        ("2021-12-20T18:30:00 03:00", "2021-12-20T15:30"),  # `+` in a query string means a space
        ("2021-12-20 18:30 03", "2021-12-20T15:30"),
        ("2021-12-20T18:30:00 +0300", "2021-12-20T15:30"),
        ("20211220T183000 0300", "2021-12-20T15:30"),
        ("2021-12-20T10:00:00-05:30", "2021-12-20T15:30"),
        ("2021-12-20T15:30:00.250Z", "2021-12-20T15:30:00.250"),
        ("2021-12-20T15:30:00,25Z", "2021-12-20T15:30:00.250"),
    ],
)
def test_any_iso_8601_time_is_understood(text: str, moment: str) -> None:
    assert read_time(arguments(time=text)) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "now",
        "1640000000",
        "2021-13-01",
        "2021-02-30",
        "2021-12-20T25:00",
        "2021-12-20x15:30",
        "2021-12-20T15:30+25:00",
        "2021-12-20T15:30:00\x00",
        "２０２１-12-20",
        "0000-01-01",
        "9999-12-31T24:00",
        "9999-12-31T23:00-05:00",
        "0001-01-01T01:00+05:00",
        "2" * 10_000,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ParameterError) as caught:
        read_time(arguments(time=text))
    assert (caught.value.field, caught.value.value) == ("time", text[:100])


def test_without_a_time_it_is_now() -> None:
    before = datetime.now(UTC)
    assert before <= read_time(arguments()) <= datetime.now(UTC)


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("100", 100), (" 5 ", 5), ("+7", 7), ("005", 5)])
def test_a_limit_from_1_to_100_is_taken(text: str, limit: int) -> None:
    assert read_limit(arguments(limit=text)) == limit


def test_without_a_limit_it_is_10() -> None:
    assert read_limit(arguments()) == 10


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.0", "1e1", "five", "٥", "1_0", "0x5", "9" * 5000])
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(ParameterError) as caught:
        read_limit(arguments(limit=text))
    assert (caught.value.field, caught.value.allowed) == ("limit", "an integer from 1 to 100")


@pytest.mark.parametrize(
    ("text", "user_id"),
    [
        ("200", "200"),
        ("007", "7"),
        ("+5", "5"),
        (" 5", "5"),
        ("5\n", "5"),
        ("-0", "0"),
        ("-7", "-7"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
    ],
)
def test_an_integer_id_is_written_as_the_batch_writes_it(text: str, user_id: str) -> None:
    assert canonical_id(text, "integer") == user_id


@pytest.mark.parametrize(
    "text", ["x", "1.0", "1 2", "٥", "--5", "9223372036854775808", "-9223372036854775809", "9" * 200, "\x00"]
)
def test_what_is_no_integer_of_64_bits_is_refused_where_ids_are_integers(text: str) -> None:
    with pytest.raises(ParameterError, match="one integer of 64 bits"):
        canonical_id(text, "integer")


def test_where_ids_are_strings_they_stay_as_they_are() -> None:
    assert canonical_id("007", "string") == "007"
    assert canonical_id("0B6F8A3E-6D0F-4C39-9B1F-5F5D0D6F2A11", "string") == "0B6F8A3E-6D0F-4C39-9B1F-5F5D0D6F2A11"


def test_where_ids_are_uuids_those_are_written_in_lower_case_and_other_texts_are_left() -> None:
    assert canonical_id("0B6F8a3e-6D0F-4C39-9B1F-5F5D0D6F2A11", "uuid") == "0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11"
    assert canonical_id("Anna", "uuid") == "Anna"


def test_an_id_has_1_to_200_characters() -> None:
    assert read_id(arguments(id="ж" * 200)) == "ж" * 200
    for bad in ("", "x" * 201):
        with pytest.raises(ParameterError, match="1 to 200"):
            read_id(arguments(id=bad))


def test_a_missing_id_is_named() -> None:
    with pytest.raises(ParameterError) as caught:
        read_id(arguments())
    assert (caught.value.field, caught.value.value) == ("id", None)


@pytest.mark.parametrize("read", [read_id, read_limit, read_time])
def test_a_parameter_given_twice_is_refused(read: object) -> None:
    twice = MultiDict([("id", "1"), ("id", "1"), ("limit", "1"), ("limit", "1"), ("time", "2021"), ("time", "2021")])
    with pytest.raises(ParameterError):
        read(twice)  # type: ignore[operator]


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_is_a_value_or_a_parameter_error(text: str) -> None:
    for read in (read_time, read_limit):
        with contextlib.suppress(ParameterError):
            assert read(MultiDict({"time": text, "limit": text}))


@given(st.datetimes(timezones=st.timezones()))
def test_any_time_with_an_offset_is_read_as_the_same_instant(moment: datetime) -> None:
    text = moment.isoformat()
    try:
        expected = datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        return
    assert read_time(arguments(time=text)) == expected
    assert read_time(arguments(time=text.replace("+", " "))) == expected
