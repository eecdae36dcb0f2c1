"""The staleness objective: how old the live generation may be, and how long its buckets last, judged in one place."""

from dataclasses import dataclass
from datetime import datetime

from slates.bucket import bucket_start
from slates.manifest import Manifest

_HOUR_S = 3600


@dataclass(frozen=True)
class Freshness:
    """age_s : seconds since the as-of; objective_s : how many they may be; hours_left : until the last bucket ends."""

    age_s: float
    objective_s: float
    hours_left: float

    @property
    def is_fresh(self) -> bool:
        """Say whether the objective is met."""
        return self.age_s <= self.objective_s

    @property
    def why_stale(self) -> str:
        """Say by how much it is not."""
        return f"the live generation is {self.age_s / _HOUR_S:.1f} hours old, over {self.objective_s / _HOUR_S:g}"


def freshness_of(manifest: Manifest, now: datetime, fresh_for_h: float) -> Freshness:
    """Judge a generation; `fresh_for_h` is the setting."""
    left_s = (bucket_start(manifest.last_bucket + 1) - now).total_seconds()
    return Freshness((now - manifest.as_of).total_seconds(), fresh_for_h * _HOUR_S, left_s / _HOUR_S)
