"""The pioneer of a post: its author where that is a user, else who touched it first."""

import numpy as np

from batch.features.view import View
from batch.passes import order_by
from batch.tables import Ints


def pioneers(view: View) -> Ints:
    """Return the pioneer of each post as of τ, the index of a user, -1 for none; shape (n_posts,)."""
    return view.once("pioneers", lambda: _pioneers(view))


def _pioneers(view: View) -> Ints:
    history = view.history
    order, start = history.firsts_by_post
    pioneer = np.full(view.n_posts, -1, dtype=np.int64)
    met = np.flatnonzero(start[1:] > start[:-1])
    first = order[start[met]]
    known = first < view.n_events
    pioneer[met[known]] = history.tables.events.user[first[known]]
    return np.where(history.author_user >= 0, history.author_user, pioneer)


def places_of_pioneers(view: View) -> tuple[Ints, Ints]:
    """Return which places of the pool each user is the pioneer of; after the users come the places without a pioneer.

    Returns where each user's begin, int64 (n_users + 2,), and the places, int64 (n_pool,), ascending by user.
    """
    return view.once("places of pioneers", lambda: _places(view))


def _places(view: View) -> tuple[Ints, Ints]:
    of_pool = pioneers(view)[view.pool]
    owner = np.where(of_pool < 0, view.n_users, of_pool)
    begin = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=view.n_users + 1))))
    return begin, order_by(owner.astype(np.int32), begin).astype(np.int64)
