"""Features that change with the bucket: all of them belong to the hour for which a slate is made."""

import numpy as np

from batch.features.registry import feature
from batch.features.view import View
from batch.tables import HOUR_S, Floats

_MONDAY = 4  # 1970-01-01 was a Thursday


def moment_s(view: View, bucket: int) -> float:
    """Return the time that stands for a bucket: its middle, or τ where that is later; seconds since 1970."""
    return max(bucket * HOUR_S + HOUR_S / 2, view.tau_s)


@feature("lag_h", "bucket", "BC", "hours from the run to the bucket")
def _lag_h(view: View, bucket: int) -> float:
    return (moment_s(view, bucket) - view.tau_s) / HOUR_S


@feature("hour", "bucket", "BC", "hour of day, UTC")
def _hour(view: View, bucket: int) -> float:  # noqa: ARG001 - every feature takes the view
    return float(bucket % 24)


@feature("weekday", "bucket", "BC", "day of week, 0 is Monday")
def _weekday(view: View, bucket: int) -> float:  # noqa: ARG001
    return float((bucket // 24 + _MONDAY - 1) % 7)


@feature("age_h", "post×bucket", "C", "hours since it was published (or first touched), in the bucket")
def _age_h(view: View, bucket: int) -> Floats:
    return np.asarray((moment_s(view, bucket) - view.dated_s) / HOUR_S)


@feature("since_touch_h", "post×bucket", "C", "hours since anybody touched it, in the bucket")
def _since_touch_h(view: View, bucket: int) -> Floats:
    return np.asarray((moment_s(view, bucket) - view.last_touch_s) / HOUR_S)
