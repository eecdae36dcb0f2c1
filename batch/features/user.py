"""Features of a user as of τ. Profile columns are features too (`profile.NAME`), by their type: see profile()."""

import numpy as np

from batch.features.rates import shrunk_rate
from batch.features.registry import Feature, feature, register
from batch.features.view import TASTE_ITEMS, View
from batch.passes import count_where, last_values
from batch.tables import HOUR_S, Floats

for _hours in (24, 168):
    register(
        Feature(
            f"user_events_{_hours}h",
            "user",
            "A",
            f"events of the user in the last {_hours} h",
            lambda view, hours=_hours: np.bincount(
                view.history.tables.events.user[view.window(hours)], minlength=view.n_users
            ).astype(np.float64),
        )
    )


@feature("user_events", "user", "A", "events of the user, ever")
def _events(view: View) -> Floats:
    return (view.end - view.history.start[:-1]).astype(np.float64)


@feature("user_strong_rate", "user", "A", "share of the user's events that say more than a view, shrunk to the average")
def _strong_rate(view: View) -> Floats:
    events, past = view.history.tables.events, slice(0, view.n_events)
    strong = count_where(events.user[past], view.history.strong[past], view.n_users)
    return shrunk_rate(strong, _events(view))


@feature("user_idle_h", "user", "A", "hours since the user's last event, at the run")
def _idle_h(view: View) -> Floats:
    events = view.history.tables.events
    last = last_values(events.user[: view.n_events], events.at_s[: view.n_events], view.n_users)
    return np.asarray((view.tau_s - last) / HOUR_S)


@feature("user_fresh_taste", "user", "A", "mean logarithm of the age in hours of the posts that the user last touched")
def _fresh_taste(view: View) -> Floats:
    if not view.n_events:
        return np.full(view.n_users, np.nan)
    tables = view.history.tables
    events, known = view.recent(np.arange(view.n_users), TASTE_ITEMS)
    age_h = (tables.events.at_s[events] - tables.posts.dated_s[tables.events.post[events]]) / HOUR_S
    age = np.log1p(np.maximum(np.nan_to_num(age_h), 0.0))
    count = known.sum(axis=1)
    return np.where(count > 0, (age * known).sum(axis=1) / np.maximum(count, 1), np.nan)


def profile(view: View) -> dict[str, Floats]:
    """Return the profile columns as numbers, texts as codes; each of shape (n_users,)."""
    return {f"profile.{name}": column for name, column in view.history.profile.items()}
