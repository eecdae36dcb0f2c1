"""Features of topics: how much a user likes one, and how much an hour does."""

import numpy as np

from batch.features.registry import feature
from batch.features.view import View
from batch.tables import HOUR_S, Floats

_PRIOR = 10.0


@feature("topic_lift", "user×topic", "AB", "how many times the average the user touches the topic, shrunk")
def _topic_lift(view: View) -> Floats:
    history, past = view.history, slice(0, view.n_events)
    events = history.tables.events
    kept = history.first[past]
    cell = events.user[past][kept].astype(np.int64) * history.n_topics + history.topic[events.post[past][kept]]
    counts = np.bincount(cell, minlength=view.n_users * history.n_topics).reshape(view.n_users, history.n_topics)
    share = (counts + _PRIOR * view.topic_share) / (counts.sum(axis=1, keepdims=True) + _PRIOR)
    return np.asarray(share / view.topic_share)


@feature("topic_code", "topic", "B", "the topic, as a code by frequency")
def _topic_code(view: View) -> Floats:
    codes = np.arange(view.history.n_topics, dtype=np.float64)
    codes[-1] = np.nan
    return codes


@feature("topic_hour_lift", "topic×bucket", "B", "how many times its average the topic is touched at this hour of day")
def _topic_hour_lift(view: View, bucket: int) -> Floats:
    history, past = view.history, slice(0, view.n_events)
    events = history.tables.events
    at_hour = (events.at_s[past] // HOUR_S - bucket) % 24 == 0
    posts = events.post[past][at_hour & history.first[past]]
    counts = np.bincount(history.topic[posts], minlength=history.n_topics)
    share = (counts + _PRIOR * view.topic_share) / (counts.sum() + _PRIOR)
    return np.asarray(share / view.topic_share)
