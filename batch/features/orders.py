"""Orders of the events that hold at every moment: made once, and shared by all histories of the same tables."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.passes import Places, count, count_where, mark_first, order_by, order_where
from batch.tables import Ints, Tables

USERS_AT_ONCE = 1_000
"""Users whose posts one thread notes in one table."""


@dataclass(frozen=True)
class Orders:
    """Events by user, and which are the first of their pair.

    post : int32 (n_events,), of the tables, whose number of posts is n_posts. by_user : (n_events,), event indices
    by (user, time). start : int64 (n_users + 1,), where each user's begin. first : bool (n_events,), the event
    is the user's first on that post; first_by_user : the same in the order of `by_user`, so that a pass over users
    reads it in a row. kept : what else histories of the same tables have computed, and share.
    """

    post: NDArray[np.int32]
    n_posts: int
    by_user: Places
    start: Ints
    first: NDArray[np.bool_]
    first_by_user: NDArray[np.bool_]
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def firsts_by_post(self) -> tuple[Places, Ints]:
        """Return the first touches by (post, time), and where each post's begin; (n_first,), int64 (n_posts + 1,)."""
        start = np.concatenate(([0], np.cumsum(count_where(self.post, self.first, self.n_posts))))
        return order_where(self.post, self.first, start), start


def order_events(tables: Tables) -> Orders:
    """Order the events of tables."""
    events, n_posts = tables.events, len(tables.posts.ids)
    start = np.concatenate(([0], np.cumsum(count(events.user, len(tables.users.ids)))))
    by_user = order_by(events.user, start)
    firsts = mark_first(by_user, start, events.post, n_posts, USERS_AT_ONCE)
    return Orders(events.post, n_posts, by_user, start, *firsts)
