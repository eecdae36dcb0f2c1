"""What a simulation is made from: its size, its seed and its end, and nothing else."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from demo.errors import DemoError

USERS, POSTS, TEXTS, LIKES, SESSIONS = range(5)
"""First number of each random stream, so that one part can change without moving the others."""

MAX_HALF_LIVES = 500
"""Longest log, counted in half-lives of a post: beyond it 2 ** (age / half-life) leaves float64."""

_LIMITS: dict[str, tuple[float, float]] = {
    "users": (1, 10_000_000),
    "posts": (1, 1_000_000),
    "days": (1, 3_650),
    "seed": (0, 2**63 - 1),
    "activity": (0.001, 1.0),
    "cold_share": (0.0, 0.9),
    "repeat_share": (0.0, 0.5),
    "half_life_d": (0.05, 10_000.0),
}


@dataclass(frozen=True)
class Parameters:
    """The parameters of a simulation; equal parameters give equal bytes.

    `end` is aware and counts as the start of its hour in UTC: no event lies at or after it. `activity` is the mean
    share of days on which a user has a session (the course's 77 M events need 0.185 over 90 days). After
    `half_life_d` days a post is shown half as often. Raises DemoError where a value is out of bounds.
    """

    users: int = 2_000
    posts: int = 600
    days: int = 14
    seed: int = 0
    end: datetime = datetime(2021, 12, 30, tzinfo=UTC)
    activity: float = 0.36
    cold_share: float = 0.02
    repeat_share: float = 0.045
    half_life_d: float = 3.0
    published_at: bool = True

    def __post_init__(self) -> None:
        """Check the bounds, and move `end` to the start of its hour."""
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DemoError(f"{name} = {value!r} is out of bounds; it goes from {low:,} to {high:,}")
        if self.end.tzinfo is None:
            raise DemoError(f"end = {self.end.isoformat()} has no time zone; write it in UTC, like 2021-12-30T00:00Z")
        if self.days > MAX_HALF_LIVES * self.half_life_d:
            raise DemoError(
                f"half_life_d = {self.half_life_d} is too short for {self.days} days; "
                f"it must be {self.days / MAX_HALF_LIVES:g} or more"
            )
        object.__setattr__(self, "end", self.end.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    @property
    def start_s(self) -> int:
        """Start of the log, seconds since 1970."""
        return int((self.end - timedelta(days=self.days)).timestamp())

    @property
    def end_s(self) -> int:
        """End of the log (exclusive), seconds since 1970."""
        return int(self.end.timestamp())

    @property
    def first_day(self) -> int:
        """Return the calendar day on which the log starts, days since 1970."""
        return self.start_s // 86_400

    @property
    def last_day(self) -> int:
        """Return the calendar day of the log's last second, days since 1970."""
        return (self.end_s - 1) // 86_400

    def stream(self, *key: int) -> np.random.Generator:
        """Return the random stream of one part; equal keys give equal streams, whatever else was drawn before."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def to_json(self) -> dict[str, Any]:
        """Return the parameters in values that JSON knows."""
        return {**asdict(self), "end": self.end.isoformat()}
