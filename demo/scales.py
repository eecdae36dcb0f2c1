"""Sizes of networks that have a name."""

from datetime import UTC, datetime
from typing import Any

SCALES: dict[str, dict[str, Any]] = {
    "demo": {},
    "reference": {
        "users": 163_205,
        "posts": 7_023,
        "days": 90,
        "activity": 0.1905,
        "end": datetime(2021, 12, 30, tzinfo=UTC),
    },
}
"""What differs from the defaults of Parameters. `reference` is the course's network: 76.9 million events."""
