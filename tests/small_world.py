"""Tables made by hand, small enough to work out figures on paper."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from batch.features.segments import build_segments
from batch.features.view import History, build_history
from batch.features.vocabulary import learn
from batch.tables import HOUR_S, Column, Events, Posts, Tables, Users
from batch.text.clusters import Clusters
from batch.text.encoder import TextEncoder

ACTIONS = {"view": 1, "like": 2}

Event = tuple[float, int, int, str]
"""Hours since 1970, user index, post index, action."""


def make_tables(
    events: Sequence[Event],
    *,
    n_users: int = 3,
    n_posts: int = 4,
    as_of_h: float = 100,
    born_h: Sequence[float] | None = None,
    topic: Sequence[str] | None = None,
    text: Sequence[str] | None = None,
    author: Sequence[str] | None = None,
    hidden: Sequence[bool] | None = None,
    profile: dict[str, Column] | None = None,
) -> Tables:
    """Return tables with users 10, 11, … and posts 100, 101, …; posts exist from `born_h` on, by default for ever."""
    rows = sorted(
        (int(hours * HOUR_S), user, post, list(ACTIONS).index(action)) for hours, user, post, action in events
    )
    at_s, user, post, action = (
        (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        if rows
        else (np.zeros(0, dtype=np.int64) for _ in range(4))
    )
    first = np.full(n_posts, np.inf)
    np.minimum.at(first, post, at_s)
    born_s = np.full(n_posts, -np.inf) if born_h is None else np.array(born_h, dtype=np.float64) * HOUR_S
    dated = np.where(np.isfinite(born_s), born_s, first)
    return Tables(
        users=Users(np.arange(10, 10 + n_users), profile or {}),
        posts=Posts(
            ids=np.arange(100, 100 + n_posts),
            text=_texts(text, n_posts),
            topic=_texts(topic, n_posts),
            author=_texts(author, n_posts),
            hidden=np.array(hidden if hidden is not None else [False] * n_posts, dtype=bool),
            born_s=born_s,
            dated_s=np.where(np.isfinite(dated), dated, np.nan),
        ),
        events=Events(at_s, user.astype(np.int32), post.astype(np.int32), action.astype(np.int8)),
        actions=tuple(ACTIONS),
        relevance=np.array(list(ACTIONS.values()), dtype=np.int64),
        as_of_s=int(as_of_h * HOUR_S),
        quarantined=0,
    )


def make_history(tables: Tables, encoder: TextEncoder | None = None, clusters: Clusters | None = None) -> History:
    """Return the history of hand-made tables."""
    texts: dict[str, Any] = {name: c for name, c in tables.users.profile.items() if c.dtype.kind == "O"}
    vocabularies = learn({**texts, "topic": tables.posts.topic})
    return build_history(tables, vocabularies, build_segments(tables.users), encoder, clusters)


def random_events(n_events: int, n_users: int, n_posts: int, last_h: float, seed: int = 0) -> list[Event]:
    """Return events at random hours before `last_h`, so that every user likes posts of its own remainder by three."""
    random = np.random.default_rng(seed)
    found: list[Event] = []
    for _ in range(n_events):
        user = int(random.integers(n_users))
        post = int(random.integers(n_posts))
        liked = post % 3 == user % 3
        if liked or random.random() < 0.3:
            found.append((float(random.uniform(0, last_h)), user, post, "like" if liked else "view"))
    return found


def _texts(values: Sequence[str] | None, n: int) -> Any:
    return np.array(values if values is not None else [""] * n, dtype=object)
