"""Buckets: one UTC hour each, written `2021-12-20T15`, counted as whole hours since 1970-01-01T00."""

import functools
from datetime import UTC, datetime, timedelta

from slates.errors import CodecError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def bucket_of(moment: datetime) -> int:
    """Return the bucket that an aware `moment` falls in, as hours since 1970-01-01T00 UTC."""
    if moment.tzinfo is None:
        msg = f"{moment.isoformat()} has no time zone; a bucket is an hour in UTC"
        raise ValueError(msg)
    return (moment - _EPOCH) // _HOUR


def bucket_start(bucket: int) -> datetime:
    """Return the first instant of a bucket, aware, in UTC."""
    return _EPOCH + bucket * _HOUR


@functools.lru_cache(maxsize=1_024)
def bucket_name(bucket: int) -> str:
    """Write a bucket as `2021-12-20T15`, the form that people read."""
    return bucket_start(bucket).strftime("%Y-%m-%dT%H").rjust(13, "0")


def parse_bucket(name: str) -> int:
    """Read what `bucket_name` wrote; raise CodecError on anything else."""
    try:
        bucket = bucket_of(datetime.strptime(name, "%Y-%m-%dT%H").replace(tzinfo=UTC))
    except ValueError:
        bucket = None
    if bucket is None or bucket_name(bucket) != name:  # strptime takes 2021-1-2T3 as well
        msg = f"{name!r} is not a bucket; a bucket is written like 2021-12-20T15"
        raise CodecError(msg)
    return bucket


@functools.lru_cache(maxsize=1_024)
def bucket_field(bucket: int) -> str:
    """Write a bucket as `2021122015`, its field in a hash: a whole number, for which Redis takes 6 bytes, not 15."""
    return bucket_start(bucket).strftime("%Y%m%d%H").rjust(10, "0")


def parse_field(field: str) -> int:
    """Read what `bucket_field` wrote; raise CodecError on anything else."""
    try:
        return parse_bucket(f"{field[:4]}-{field[4:6]}-{field[6:8]}T{field[8:]}")
    except CodecError as error:
        msg = f"{field!r} is not the field of a bucket; that of 2021-12-20T15 is 2021122015"
        raise CodecError(msg) from error


def nearest_same_hour(bucket: int, first: int, last: int) -> int:
    """Return the bucket in [first, last] that is nearest to `bucket` among those with its hour of day.

    Where the range is shorter than a day and holds no bucket of that hour, the nearest of all is returned.
    """
    if first <= bucket <= last:
        return bucket
    if bucket < first:
        candidate = first + (bucket - first) % 24
        return candidate if candidate <= last else first
    candidate = last - (last - bucket) % 24
    return candidate if candidate >= first else last
