"""Orders of the events that hold at every moment: made once, and shared by all histories of the same tables."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from batch.passes import count, mark_first, order_by
from batch.tables import Ints, Tables

USERS_AT_ONCE = 1_000
"""Users whose posts one thread notes in one table."""


@dataclass(frozen=True)
class Orders:
    """Events by user, and which are the first of their pair.

    post : int32 (n_events,), of the tables, whose number of posts is n_posts. by_user : int64 (n_events,), event
    indices by (user, time). start : int64 (n_users + 1,), where each user's begin. first : bool (n_events,), the event
    is the user's first on that post.
    """

    post: NDArray[np.int32]
    n_posts: int
    by_user: Ints
    start: Ints
    first: NDArray[np.bool_]

    @cached_property
    def firsts_by_post(self) -> tuple[Ints, Ints]:
        """Return the first touches by (post, time), and where each post's begin; int64 (n_first,), (n_posts + 1,)."""
        firsts = np.flatnonzero(self.first)
        post = self.post[firsts]
        start = np.concatenate(([0], np.cumsum(count(post, self.n_posts))))
        return firsts[order_by(post, start)], start


def order_events(tables: Tables) -> Orders:
    """Order the events of tables."""
    events, n_posts = tables.events, len(tables.posts.ids)
    start = np.concatenate(([0], np.cumsum(count(events.user, len(tables.users.ids)))))
    by_user = order_by(events.user, start)
    return Orders(events.post, n_posts, by_user, start, mark_first(by_user, start, events.post, n_posts, USERS_AT_ONCE))
