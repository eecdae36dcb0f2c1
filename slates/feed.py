"""A feed: what a look-up answers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from slates.errors import SlatesError

Rung = Literal["exact", "same_hour", "previous", "segment", "popular", "memory"]
"""How far down the ladder the slate was found, best first."""


class NoFeedError(SlatesError):
    """Nothing can be answered now: no generation is live, or Redis is away and nothing is in memory yet."""


@dataclass(frozen=True)
class Feed:
    """Up to `limit` post ids without repeats, and where their slate comes from.

    `bucket` (hours since 1970), `generation` and `as_of` are those of the slate; ids that fill the feed beyond the
    slate are the live generation's segment and popular ones. `rest` goes on where `post_ids` ends, once.
    """

    post_ids: list[str]
    rung: Rung
    bucket: int
    generation: str
    as_of: datetime
    rest: Iterator[str] = field(compare=False, repr=False)
