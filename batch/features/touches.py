"""What collaborative filtering learns from: each user's latest touches, before the moment of a view."""

import numpy as np

from batch.features.view import View
from batch.passes import latest_of_each
from batch.tables import Ints


def latest_touches(view: View, most: int, before_s: int | None = None) -> Ints:
    """Return each user's latest `most` touches before τ (or `before_s`, where earlier), ordered by user and time.

    A touch is a user's first event on a post; where the log holds what was shown, it is an event that says more than
    that. Returns indices of events.
    """
    history = view.history
    known = history.strong_by_user if history.shown_known else history.orders.first_by_user
    end = view.n_events
    if before_s is not None:
        end = min(end, int(np.searchsorted(history.tables.events.at_s, before_s, side="left")))
    return latest_of_each(history.by_user, history.start, known, end, most)[1]
