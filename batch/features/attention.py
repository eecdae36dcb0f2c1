"""What a user had the chance to see: whether the user was there since a post appeared, and passed it by."""

import numpy as np
from numpy.typing import NDArray

from batch.features.registry import feature
from batch.features.view import View
from batch.kernels import count_since
from batch.tables import HOUR_S, Ints

Pairs = NDArray[np.float32]


@feature("passed_by", "user×post", "A", "events of the user since the post appeared: chances to have seen it")
def _passed_by(view: View, users: Ints) -> Pairs:
    return _since_dated(view, users, hours=False)


@feature("passed_hours", "user×post", "A", "hours in which the user was there since the post appeared")
def _passed_hours(view: View, users: Ints) -> Pairs:
    return _since_dated(view, users, hours=True)


def _since_dated(view: View, users: Ints, *, hours: bool) -> Pairs:
    """Count from when on the post's age counts; all of the user's events for a post of unknown age."""
    history = view.history
    dated = np.nan_to_num(view.dated_s[view.pool], nan=-np.inf)
    newest_first = view.once("pool by date", lambda: np.argsort(-dated, kind="stable"))
    out = np.empty((len(users), len(view.pool)), dtype=np.float32)
    span_s = HOUR_S if hours else 0
    at_s, by_user = history.tables.events.at_s, history.by_user
    count_since(at_s, by_user, history.start[users], view.end[users], dated[newest_first], newest_first, span_s, out)
    return out
