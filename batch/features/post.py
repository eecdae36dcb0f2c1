"""Features of a post as of τ."""

import numpy as np

from batch.features.rates import shrunk_rate
from batch.features.registry import Feature, feature, register
from batch.features.view import View
from batch.passes import count, count_where
from batch.tables import HOUR_S, Floats

_HARDLY_ANY = 1e-4
"""A share that keeps the velocity of what hardly anybody touches near 0."""

for _hours in (0.25, 0.5, 1, 3, 6, 12, 24, 48, 168):
    register(
        Feature(
            f"touches_{_hours:g}h",
            "post",
            "C",
            f"users who touched it for the first time in the last {_hours:g} h",
            lambda view, hours=_hours: view.touches(hours),
        )
    )

for _half_life in (0.25, 0.5, 1, 2, 4, 8, 72):
    register(
        Feature(
            f"trend_{_half_life:g}h",
            "post",
            "AC" if _half_life == 8 else "C",
            f"share of all first touches, each halved every {_half_life:g} h",
            lambda view, half_life=_half_life: _share(view.decayed(half_life)),
        )
    )


for _power in (1.0, 1.5, 2.0, 3.0):
    register(
        Feature(
            f"fading_{_power:g}",
            "post",
            "AC",
            f"share of the last week's first touches, each weighted by (1 + age in hours)^-{_power:g}",
            lambda view, power=_power: _share(view.faded(power)),
        )
    )

for _short, _long in ((1, 8), (8, 72)):
    register(
        Feature(
            f"velocity_{_short}h_{_long}h",
            "post",
            "C",
            f"logarithm of its trend with a half-life of {_short} h over that of {_long} h",
            lambda view, short=_short, long=_long: _velocity(view, short, long),
        )
    )

for _half_life in (1, 8, 24):
    register(
        Feature(
            f"place_{_half_life}h",
            "post",
            "C",
            f"how many posts have more first touches, each halved every {_half_life} h",
            lambda view, half_life=_half_life: _place(view, view.decayed(half_life)),
        )
    )

for _nth in (2, 4, 8):
    register(
        Feature(
            f"since_touch_{_nth}_h",
            "post",
            "C",
            f"hours, at the run, since the first touch that is the {_nth}th from the end",
            lambda view, nth=_nth: (view.tau_s - _nth_last_s(view, nth)) / HOUR_S,
        )
    )


def _velocity(view: View, short_h: float, long_h: float) -> Floats:
    slow, quick = _share(view.decayed(long_h)), _share(view.decayed(short_h))
    return np.asarray(np.log2((quick + _HARDLY_ANY) / (slow + _HARDLY_ANY)))


def _place(view: View, scores: Floats) -> Floats:
    """Return how many existing posts score higher, NaN for those that do not exist; NaN scores come last."""
    place = np.full(view.n_posts, np.nan)
    posts = np.flatnonzero(view.exists)
    found = np.nan_to_num(scores[posts], nan=-np.inf)
    place[posts] = len(posts) - np.searchsorted(np.sort(found), found, side="right")
    return place


def _nth_last_s(view: View, nth: int) -> Floats:
    """Return when each post was touched, by one user more, for the nth time from the end; NaN where it never was."""
    order, begin = view.history.firsts_by_post
    at = begin[:-1] + view.touches_all.astype(np.int64) - nth
    found = at >= begin[:-1]
    out = np.full(view.n_posts, np.nan)
    out[found] = view.history.tables.events.at_s[order[at[found]]]
    return out


def _share(counts: Floats) -> Floats:
    return np.asarray(counts / max(counts.sum(), 1e-9))


@feature("trend_24h", "post", "AC", "share of all first touches, each halved every 24 h")
def _trend(view: View) -> Floats:
    return view.trend


@feature("touches_all", "post", "AC", "users who ever touched it")
def _touches_all(view: View) -> Floats:
    return view.touches_all


@feature("touches_a_day", "post", "AC", "first touches a day of its age: how much it is shown")
def _touches_a_day(view: View) -> Floats:
    return np.asarray(view.touches_all / (_age_h(view) / 24 + 1))


@feature("strong_rate", "post", "AC", "share of its events that say more than a view, shrunk to the average")
def _strong_rate(view: View) -> Floats:
    events, past = view.history.tables.events, slice(0, view.n_events)
    strong = count_where(events.post[past], view.history.strong[past], view.n_posts)
    return shrunk_rate(strong, count(events.post[past], view.n_posts))


@feature("age_at_run_h", "post", "A", "hours since it was published (or first touched), at the run")
def _age_h(view: View) -> Floats:
    return np.asarray((view.tau_s - view.dated_s) / HOUR_S)


@feature("newer_posts", "post", "AC", "how many posts are newer")
def _newer_posts(view: View) -> Floats:
    return _place(view, view.dated_s)


@feature("since_touch_at_run_h", "post", "A", "hours since anybody touched it, at the run")
def _since_touch_at_run_h(view: View) -> Floats:
    return np.asarray((view.tau_s - view.last_touch_s) / HOUR_S)


@feature("events_24h", "post", "C", "events of every kind in the last 24 h")
def _events_24h(view: View) -> Floats:
    return np.bincount(view.history.tables.events.post[view.window(24)], minlength=view.n_posts).astype(np.float64)


@feature("repeats_24h", "post", "C", "events in the last 24 h of users who had touched it before", needs_choices=True)
def _repeats_24h(view: View) -> Floats:
    span = view.window(24)
    again = view.history.tables.events.post[span][~view.history.first[span]]
    return np.bincount(again, minlength=view.n_posts).astype(np.float64)


@feature("strong_24h", "post", "C", "events in the last 24 h that say more than a view")
def _strong_24h(view: View) -> Floats:
    span = view.window(24)
    weights, posts = view.history.strong[span], view.history.tables.events.post[span]
    return np.bincount(posts, weights=weights, minlength=view.n_posts).astype(np.float64)


@feature("topic", "post", "AC", "its topic, as a code by frequency")
def _topic(view: View) -> Floats:
    return np.where(view.history.topic == view.history.n_topics - 1, np.nan, view.history.topic)
