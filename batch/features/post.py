"""Features of a post as of τ."""

import numpy as np

from batch.features.rates import shrunk_rate
from batch.features.registry import Feature, feature, register
from batch.features.view import View
from batch.tables import HOUR_S, Floats

for _hours in (1, 6, 24, 168):
    register(
        Feature(
            f"touches_{_hours}h",
            "post",
            "C",
            f"users who touched it for the first time in the last {_hours} h",
            lambda view, hours=_hours: view.touches(hours),
        )
    )

for _half_life in (2, 8, 72):
    register(
        Feature(
            f"trend_{_half_life}h",
            "post",
            "AC" if _half_life == 8 else "C",
            f"share of all first touches, each halved every {_half_life} h",
            lambda view, half_life=_half_life: _share(view.decayed(half_life)),
        )
    )


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
    strong = np.bincount(events.post[past], weights=view.history.strong[past], minlength=view.n_posts)
    total = np.bincount(events.post[past], minlength=view.n_posts)
    return shrunk_rate(strong, total)


@feature("age_at_run_h", "post", "A", "hours since it was published (or first touched), at the run")
def _age_h(view: View) -> Floats:
    return np.asarray((view.tau_s - view.dated_s) / HOUR_S)


@feature("topic", "post", "AC", "its topic, as a code by frequency")
def _topic(view: View) -> Floats:
    return np.where(view.history.topic == view.history.n_topics - 1, np.nan, view.history.topic)
