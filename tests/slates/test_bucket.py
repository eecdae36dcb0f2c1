from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slates.bucket import (
    bucket_field,
    bucket_name,
    bucket_of,
    bucket_start,
    nearest_same_hour,
    parse_bucket,
    parse_field,
)
from slates.errors import CodecError

FIRST_OF_ALL = bucket_of(datetime(1, 1, 1, tzinfo=UTC))
LAST_OF_ALL = bucket_of(datetime(9999, 12, 31, 23, tzinfo=UTC))
BUCKETS = st.integers(FIRST_OF_ALL, LAST_OF_ALL)


def test_buckets_are_counted_in_hours_from_1970() -> None:
    assert bucket_of(datetime(1970, 1, 1, 0, 59, 59, tzinfo=UTC)) == 0
    assert bucket_of(datetime(1970, 1, 2, 1, tzinfo=UTC)) == 25
    assert bucket_of(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == -1


def test_a_moment_with_an_offset_falls_in_the_bucket_of_its_utc_hour() -> None:
    moment = datetime(2021, 12, 20, 1, 15, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert bucket_name(bucket_of(moment)) == "2021-12-19T19"  # 01:15 at +05:30 is 19:45 the day before


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        bucket_of(datetime(2021, 12, 20))  # noqa: DTZ001 - that is the point


def test_a_bucket_is_written_as_date_and_hour() -> None:
    assert bucket_name(0) == "1970-01-01T00"
    assert bucket_name(FIRST_OF_ALL) == "0001-01-01T00"


@given(BUCKETS)
def test_what_is_written_is_read_back(bucket: int) -> None:
    assert parse_bucket(bucket_name(bucket)) == bucket
    assert bucket_of(bucket_start(bucket)) == bucket


@pytest.mark.parametrize(
    "name",
    [
        "",
        "segment",
        "2021-12-20",
        "2021-12-20T24",
        "2021-02-30T01",
        "2021-12-20T5",
        "2021-1-2T03",
        "2021-12-20T15 ",
        "２０２１-12-20T15",
    ],
)
def test_what_is_not_written_that_way_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="is not a bucket"):
        parse_bucket(name)


@pytest.mark.parametrize(
    ("bucket", "nearest"),
    [
        (100, 100),
        (123, 123),
        (124, 100),  # 124 = 100 + 24
        (147, 123),
        (148, 100),
        (99, 123),  # 99 = 123 - 24
        (76, 100),
        (75, 123),  # 75 = 123 - 48
        (100 - 24 * 1000, 100),
    ],
)
def test_the_nearest_of_the_same_hour_in_a_range_of_a_day(bucket: int, nearest: int) -> None:
    assert nearest_same_hour(bucket, 100, 123) == nearest


@pytest.mark.parametrize(
    ("bucket", "nearest"),
    [
        (77, 101),  # 101 lies a day after it
        (102, 102),
        (126, 102),
        (99, 100),  # no bucket of its hour: the nearest of all
        (80, 100),
        (103, 102),
        (120, 102),
    ],
)
def test_the_nearest_in_a_range_shorter_than_a_day(bucket: int, nearest: int) -> None:
    assert nearest_same_hour(bucket, 100, 102) == nearest


def test_in_a_range_of_several_days_the_nearer_day_counts() -> None:
    assert nearest_same_hour(99, 100, 171) == 123  # not 147 nor 171
    assert nearest_same_hour(172, 100, 171) == 148


@given(st.integers(-1000, 1000), st.integers(-100, 100), st.integers(0, 80))
def test_the_nearest_is_what_a_search_finds(bucket: int, first: int, more: int) -> None:
    everything = range(first, first + more + 1)
    same_hour = [other for other in everything if (other - bucket) % 24 == 0]
    expected = min(same_hour or everything, key=lambda other: abs(other - bucket))
    assert nearest_same_hour(bucket, first, first + more) == expected


def test_the_field_of_a_bucket_is_a_whole_number_that_people_can_read() -> None:
    assert bucket_field(parse_bucket("2021-12-20T15")) == "2021122015"
    assert parse_field("2021122015") == parse_bucket("2021-12-20T15")
    assert parse_field(bucket_field(FIRST_OF_ALL)) == FIRST_OF_ALL


@pytest.mark.parametrize("field", ["2021-12-20T15", "202112201", "2021122024", "20211220155", "", "segment"])
def test_other_fields_are_refused_by_name(field: str) -> None:
    with pytest.raises(CodecError, match=f"'{field}' is not the field of a bucket"):
        parse_field(field)
