"""Features of topics: how much a user likes one, and how much an hour does."""

import numpy as np

from batch.features.registry import feature
from batch.features.view import View
from batch.passes import count_by_hour, count_groups
from batch.tables import Floats, Ints

_PRIOR = 10.0


@feature("topic_lift", "user×topic", "AB", "how many times the average the user touches the topic, shrunk")
def _topic_lift(view: View) -> Floats:
    history, past = view.history, slice(0, view.n_events)
    events, topic = history.tables.events, history.topic.astype(np.int32)
    counts = np.zeros((view.n_users, history.n_topics), dtype=np.int64)
    count_groups(events.user[past], events.post[past], history.first[past], topic, counts)
    share = (counts + _PRIOR * view.topic_share) / (counts.sum(axis=1, keepdims=True) + _PRIOR)
    return np.asarray(share / view.topic_share)


@feature("topic_code", "topic", "B", "the topic, as a code by frequency")
def _topic_code(view: View) -> Floats:
    codes = np.arange(view.history.n_topics, dtype=np.float64)
    codes[-1] = np.nan
    return codes


@feature("topic_hour_lift", "topic×bucket", "B", "how many times its average the topic is touched at this hour of day")
def _topic_hour_lift(view: View, bucket: int) -> Floats:
    counts = view.once("first touches by hour and topic", lambda: _by_hour(view))[bucket % 24]
    share = (counts + _PRIOR * view.topic_share) / (counts.sum() + _PRIOR)
    return np.asarray(share / view.topic_share)


def _by_hour(view: View) -> Ints:
    """Count the first touches by hour of day and topic; int64 (24, n_topics)."""
    history, events = view.history, view.history.tables.events
    first, topic = history.first[: view.n_events], history.topic.astype(np.int32)
    counts = np.zeros((24, history.n_topics), dtype=np.int64)
    count_by_hour(events.at_s[: view.n_events], events.post[: view.n_events], first, topic, counts)
    return counts
