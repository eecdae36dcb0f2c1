"""Parses columns of text into numbers, times and booleans, whole columns at a time.

Each function, unless it says otherwise, takes an Arrow array of strings, null where the field is empty, and returns an
array of the same length with a null wherever a text is not what it should be.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy as np

_INTEGER = r"^(0|-?[1-9][0-9]{0,18})$"
_NUMBER = r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_PLAIN_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_ZERO_FRACTION = r"^(-?[0-9]+)\.0+$"
_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)
_UUID = r"^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$"
_FIRST_TIME, _END_OF_TIME = pd.Timestamp("1970-01-01"), pd.Timestamp("2201-01-01")
_TRUE = ("true", "t", "yes", "1")
_FALSE = ("false", "f", "no", "0")


def integers(texts: Any, bits: int = 64) -> Any:
    """Parse canonical decimal integers (int64): no plus sign, no leading zeros, no fraction, no surplus bits."""
    candidates = where(pc.match_substring_regex(texts, _INTEGER), texts)
    try:
        values = candidates.cast(pa.int64())
    except pa.ArrowInvalid:  # one of 19 digits is beyond 64 bits
        limit = 2**63
        numbers = (None if text is None else int(text) for text in candidates.to_pylist())
        values = pa.array([n if n is not None and -limit <= n < limit else None for n in numbers], pa.int64())
    return of_bits(values, bits)


def of_bits(values: Any, bits: int) -> Any:
    """Keep the integers (int64) that so many bits can hold."""
    if bits == 64:
        return values
    limit = 2 ** (bits - 1)
    return where(pc.and_(pc.greater_equal(values, -limit), pc.less(values, limit)), values)


def without_zero_fraction(texts: Any) -> Any:
    """Turn 25.0 into 25: whole numbers of profiles often come so, where one of their column was missing."""
    return pc.replace_substring_regex(texts, _ZERO_FRACTION, r"\1")


def numbers(texts: Any, *, plain: bool = False) -> Any:
    """Parse finite decimal numbers (float64); `plain` ones have no leading zeros, which codes have."""
    pattern = _PLAIN_NUMBER if plain else _NUMBER
    candidates = where(pc.match_substring_regex(texts, pattern), texts)
    try:
        values = candidates.cast(pa.float64())
    except pa.ArrowInvalid:  # a form that Arrow does not read, such as "5."
        values = pa.array([text and float(text) for text in candidates.to_pylist()], pa.float64())
    return where(pc.is_finite(values), values)


def booleans(texts: Any) -> Any:
    """Parse true, t, yes, 1 and false, f, no, 0, in upper or lower case."""
    lower = pc.utf8_lower(texts)
    known = pc.is_in(lower, value_set=pa.array(_TRUE + _FALSE))
    return where(known, pc.is_in(lower, value_set=pa.array(_TRUE)))


def times(texts: Any) -> Any:
    """Parse ISO 8601 dates and times, with a space or a T, of the years 1970 to 2200, to timestamps (µs) in UTC.

    A time without an offset is taken as UTC.
    """
    candidates = where(pc.match_substring_regex(texts, _TIME), texts)
    series = pd.Series(candidates.to_pandas(), dtype="str")
    parsed = pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
    parsed = parsed.where((parsed >= _FIRST_TIME) & (parsed < _END_OF_TIME))
    return pa.array(parsed.to_numpy().astype("datetime64[us]"), pa.timestamp("us"), from_pandas=True)


def of_years(moments: Any) -> Any:
    """Keep the timestamps of the years 1970 to 2200, in µs."""
    inside = pc.and_(pc.greater_equal(moments, _FIRST_TIME), pc.less(moments, _END_OF_TIME))
    return where(inside, moments).cast(pa.timestamp("us"), safe=False)


def is_text(values: Any) -> bool:
    """Tell whether an array holds strings."""
    return bool(pa.types.is_string(values.type))


def as_text(values: Any) -> Any:
    """Return an array as strings."""
    return values if is_text(values) else values.cast(pa.string())


def uuids(texts: Any) -> Any:
    """Keep what is a UUID in its usual form."""
    return where(pc.match_substring_regex(texts, _UUID), texts)


def short_texts(texts: Any, max_length: int | None) -> Any:
    """Keep what has at most so many characters."""
    return texts if max_length is None else where(pc.less_equal(pc.utf8_length(texts), max_length), texts)


def is_null(values: Any) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return where an array is null, as a numpy array of bool."""
    mask: np.ndarray[Any, np.dtype[np.bool_]] = values.is_null().to_numpy(zero_copy_only=False)
    return mask


def where(condition: Any, values: Any) -> Any:
    """Keep the values where a condition holds."""
    return pc.if_else(condition, values, pa.scalar(None, values.type))
