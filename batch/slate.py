"""Slates: each user's best posts for each bucket, under the rules of what may be shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.baselines import events_in
from batch.features.orders import USERS_AT_ONCE
from batch.features.view import History, View
from batch.passes import posts_of_each, reordered
from batch.rank import Scorer
from batch.rules import NO_RULES, Picked, RuledPool, Rules, Scores
from batch.tables import Floats, Ints

_CELLS = 8_000_000
"""Users × posts, or topics or places of all hours, at once: bounds a chunk's memory to a few hundred megabytes."""
_SEGMENT_PRIOR = 20.0


@dataclass(frozen=True)
class Chunk:
    """Slates of the users `begin` … `begin + len(posts) - 1`.

    posts : int32, shape (n_users_in_chunk, n_buckets, top_n), indices of posts, best first, -1 for "no further post".
    explored : places of these slates that explore.
    """

    begin: int
    posts: NDArray[np.int32]
    explored: int = 0


@dataclass(frozen=True)
class ActedOn:
    """Posts that a user is not shown again. begin : int64 (n_users + 1,); post : whole numbers, indices, by user."""

    begin: Ints
    post: NDArray[np.integer]


def acted_on(history: History, view: View, actions: Sequence[str]) -> ActedOn:
    """Collect the posts each user has acted on with one of `actions` before τ, and the user's own."""
    tables = history.tables
    counts = np.array([action in actions for action in tables.actions], dtype=bool)
    # Where all actions count, a pair's first event says all that the later ones would.
    known = history.orders.first_by_user if counts.all() else reordered(counts[tables.events.action], history.by_user)
    log = history.by_user, history.start, known, tables.events.post
    begin, post = posts_of_each(*log, view.n_events, max(view.n_posts, 1), USERS_AT_ONCE)
    own_user, own_post = _own_posts(history)
    if not len(own_user):
        return ActedOn(begin, post)
    users = np.repeat(np.arange(view.n_users), np.diff(begin))
    pairs = np.unique(np.concatenate([users, own_user]) * view.n_posts + np.concatenate([post, own_post]))
    users = pairs // view.n_posts
    return ActedOn(np.concatenate(([0], np.cumsum(np.bincount(users, minlength=view.n_users)))), pairs % view.n_posts)


def _own_posts(history: History) -> tuple[Ints, Ints]:
    post = np.flatnonzero(history.author_user >= 0)
    return history.author_user[post], post


def make_slates(
    scorer: Scorer, view: View, acted: ActedOn, n_buckets: int, top_n: int, rules: Rules = NO_RULES
) -> Iterator[Chunk]:
    """Score and pick for all users, a chunk at a time."""
    ruled = RuledPool(rules, view) if rules.on else None
    for users in chunks_of(view, n_buckets, top_n):
        yield make_chunk(scorer, view, acted, users, top_n, ruled)


def chunks_of(view: View, n_buckets: int, top_n: int) -> list[range]:
    """Split the users (indices) into chunks that memory holds."""
    of_user = max(len(view.pool), n_buckets * max(view.history.n_topics, top_n))
    size = max(1, min(4096, _CELLS // of_user))
    return [range(begin, min(begin + size, view.n_users)) for begin in range(0, view.n_users, size)]


def make_chunk(scorer: Scorer, view: View, acted: ActedOn, chunk: range, top_n: int, ruled: RuledPool | None) -> Chunk:
    """Score and pick for the users of one chunk."""
    users = np.arange(chunk.start, chunk.stop)
    picked = _pick(scores_at(scorer, view, acted, users), users, top_n, ruled)
    return Chunk(chunk.start, _posts_at(view, picked.posts), int(picked.explored.sum()))


def pick_slates(
    scorer: Scorer, view: View, acted: ActedOn, users: Ints, top_n: int, rules: Rules = NO_RULES
) -> NDArray[np.int32]:
    """Score and pick for some users (indices); posts as in Chunk, shape (len(users), n_buckets, top_n)."""
    ruled = RuledPool(rules, view) if rules.on else None
    return _posts_at(view, _pick(scores_at(scorer, view, acted, users), users, top_n, ruled).posts)


def _pick(scores: Scores, users: Ints, top_n: int, ruled: RuledPool | None) -> Picked:
    if ruled is not None:
        return ruled.pick(scores, users, top_n)
    return Picked(scores.best(top_n), np.zeros(len(users), dtype=np.int64))


def scores_at(scorer: Scorer, view: View, acted: ActedOn, users: Ints) -> Scores:
    """Score for some users (indices), and say what they are not shown."""
    return Scores(
        scorer.pair_scores(users),
        view.history.topic[view.pool],
        scorer.topic_scores(users),
        scorer.hour_scores,
        *_excluded(acted, users, view),
    )


def _excluded(acted: ActedOn, users: Ints, view: View) -> tuple[Ints, Ints]:
    """Return the places in the pool that `users` are not shown, user after user, and where each user's begin."""
    counts = acted.begin[users + 1] - acted.begin[users]
    owner = np.repeat(np.arange(len(users)), counts)
    at = np.arange(len(owner)) + np.repeat(acted.begin[users] - (np.cumsum(counts) - counts), counts)
    place = view.place[acted.post[at]]
    known = place >= 0
    return place[known], np.concatenate(([0], np.cumsum(np.bincount(owner[known], minlength=len(users)))))


def _posts_at(view: View, picked: NDArray[np.int32]) -> NDArray[np.int32]:
    padded = np.append(view.pool, -1).astype(np.int32)  # place -1 reads the -1 at the end
    return padded[picked]


def popular_slate(view: View, top_n: int) -> Ints:
    """Return the posts with most events in the last day, then the trending ones; indices, at most `top_n`."""
    return _best(view, events_in(view, 24), top_n)


def segment_slates(view: View, top_n: int) -> list[Ints]:
    """Return for each segment its own trending posts, shrunk towards everybody's; indices, at most `top_n` each."""
    segments, span = view.history.segments, view.window(48)
    events, first = view.history.tables.events, view.history.first[span]
    segment, post = segments.of_user[events.user[span][first]], events.post[span][first]
    slates = []
    for place in range(len(segments.names)):
        counts = np.bincount(post[segment == place], minlength=view.n_posts)
        slates.append(_best(view, counts + _SEGMENT_PRIOR * view.trend, top_n))
    return slates


def _best(view: View, scores: Floats, top_n: int) -> Ints:
    return view.pool[np.argsort(-scores[view.pool], kind="stable")[:top_n]]  # of equals, the pool's order decides
