"""A feed: what a look-up answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from slates.errors import SlatesError

Rung = Literal["exact", "same_hour", "previous", "segment", "popular", "memory", "disk"]
"""How far down the ladder the slate was found, best first."""
WITHOUT_REDIS: frozenset[Rung] = frozenset({"memory", "disk"})
"""Rungs that hold while Redis is away."""


class NoFeedError(SlatesError):
    """Nothing can be answered now: no generation is live or it is empty, or Redis is away and nothing is in memory."""


@dataclass(slots=True)
class Feed:
    """Up to `limit` post ids without repeats, and the slate that they begin with.

    `bucket` (hours since 1970), `generation` and `as_of` are those of `slate`; ids that fill the feed beyond it are
    the live generation's segment and popular ones. `rest` goes on where `post_ids` ends, once. Posts that the user is
    known to have acted on are in neither, so a user who has acted on everything gets no `post_ids`; nor are posts that
    are taken down. `segment` is the user's, where it is known, and `segment_slate` what fills a feed from it.

    It is not frozen, because every look-up makes one, and a frozen one takes four times as long to make.
    """

    post_ids: list[str]
    rung: Rung
    bucket: int
    generation: str
    as_of: datetime
    slate: list[str]
    rest: Iterator[str] = field(compare=False, repr=False)
    segment: str | None = field(default=None, compare=False)
    segment_slate: Sequence[str] = field(default=(), compare=False, repr=False)


class Similar(NamedTuple):
    """The posts that are most like one, best first, as a generation has them."""

    post_ids: list[str]
    generation: str
    as_of: datetime
