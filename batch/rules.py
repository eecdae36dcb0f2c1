"""Slate rules beyond the score: limits by topic and author, diverse texts, and places that explore.

They order the first `within` places anew, place by place: the best post that keeps the limits, or with `diversity` the
best by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998); the last `explore_places` of them hold posts
that hardly anybody has touched. The other posts follow in the order of their scores.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.kernels import best_posts
from batch.reorder import DIVERSE_AMONG, reorder
from batch.settings import BatchSettings
from batch.tables import HOUR_S, Floats, Ints

_EXPLORED_SHARE, _EXPLORED_MOST = 0.05, 200
"""Posts that are explored at a time: that share of the pool, at most so many."""


@dataclass(frozen=True)
class Rules:
    """How the first `within` places are filled; 0 turns a rule off."""

    within: int = 5
    max_per_topic: int = 0
    max_per_author: int = 0
    diversity: float = 0.0
    explore_places: int = 0
    seed: int = 0

    def explored_in(self, top_n: int) -> tuple[int, ...]:
        """Return the places of a slate that explore, from 1 on."""
        return tuple(p for p in range(self.within - self.explore_places + 1, self.within + 1) if p <= top_n)

    @property
    def on(self) -> bool:
        """Say whether any rule is on."""
        return bool(self.max_per_topic or self.max_per_author or self.diversity or self.explore_places)


NO_RULES = Rules()


def rules_of(settings: BatchSettings) -> Rules:
    """Return the rules that the settings ask for."""
    return Rules(
        settings.rules_within,
        settings.max_per_topic,
        settings.max_per_author,
        settings.diversity,
        min(settings.explore_places, settings.rules_within),
        settings.seed,
    )


@dataclass(frozen=True)
class Scores:
    """What some users' slates are picked from; arrays as in batch.kernels.best_posts."""

    pair: Floats
    topic: Ints
    topic_score: Floats
    hour_score: Floats
    excluded: Ints
    excluded_begin: Ints

    def best(self, top_n: int) -> NDArray[np.int32]:
        """Pick by score alone; places in the pool, int32 (n_users, n_hours, top_n), best first, -1 for none."""
        found = np.empty((len(self.pair), self.hour_score.shape[1], top_n), dtype=np.int32)
        best_posts(self.pair, self.topic, self.topic_score, self.hour_score, self.excluded, self.excluded_begin, found)
        return found


@dataclass(frozen=True)
class Picked:
    """Slates under the rules. posts : places in the pool, as `Scores.best`; explored : int64 (n_users,), places."""

    posts: NDArray[np.int32]
    explored: Ints


class RuledPool:
    """The rules at one moment: what they need to know of the posts of a view's pool."""

    def __init__(self, rules: Rules, view: View) -> None:
        history, pool = view.history, view.pool
        posts = history.tables.posts
        topic = np.where(posts.topic[pool] == "", -1, history.topic[pool])
        author = np.unique(posts.author[pool], return_inverse=True)[1].reshape(-1)
        self._rules = rules
        self._view = view
        self._groups = np.stack([topic, np.where(posts.author[pool] == "", -1, author)]).astype(np.int64)
        self._most = np.array([rules.max_per_topic, rules.max_per_author], dtype=np.int64)
        text = history.text[pool] if history.text is not None and rules.diversity else np.zeros((len(pool), 0))
        self._vectors = np.ascontiguousarray(text, dtype=np.float32)
        self._explore = explored_posts(view) if rules.explore_places else pool[:0]
        self._explore_key = _keys(str(post_id) for post_id in posts.ids[pool[self._explore]])

    def pick(self, scores: Scores, users: Ints, top_n: int) -> Picked:
        """Pick the slates of `users` (indices), whose scores these are."""
        rules, n_hours = self._rules, scores.hour_score.shape[1]
        depth = max(top_n + rules.within, DIVERSE_AMONG if rules.diversity else 0)
        out = np.empty((len(users), n_hours, max(top_n, rules.within)), dtype=np.int32)
        explored = np.zeros(len(users), dtype=np.int64)
        reorder(
            scores.best(depth),
            scores.pair,
            scores.topic,
            scores.topic_score,
            scores.hour_score,
            scores.excluded,
            scores.excluded_begin,
            self._groups,
            self._most,
            rules.within,
            self._can_be_kept(),
            self._vectors,
            rules.diversity,
            rules.explore_places,
            self._explore,
            self._explore_key,
            self._slate_keys(users, n_hours),
            top_n,
            out,
            explored,
        )
        return Picked(out[:, :, :top_n], explored)

    def _slate_keys(self, users: Ints, n_hours: int) -> NDArray[np.uint64]:
        ids, first_bucket = self._view.history.tables.users.ids, self._view.tau_s // HOUR_S
        of_user = _keys(f"{self._rules.seed} {user_id}" for user_id in ids[users])
        of_bucket = _keys(str(first_bucket + hour) for hour in range(n_hours))
        return of_user[:, None] ^ of_bucket[None, :]

    def _can_be_kept(self) -> bool:
        """Say whether the pool holds enough groups at all; else no search, however deep, keeps the limits."""
        for groups, most in zip(self._groups, self._most.tolist(), strict=True):
            sizes = np.bincount(groups[groups >= 0])
            if most and np.minimum(sizes, most).sum() + (groups < 0).sum() < self._rules.within:
                return False
        return True


def explored_posts(view: View) -> Ints:
    """Return the posts that fewest users have touched, the newest first among equals; places in the pool."""
    most = min(_EXPLORED_MOST, int(np.ceil(_EXPLORED_SHARE * len(view.pool))))
    age = -np.nan_to_num(view.dated_s[view.pool], nan=-np.inf)
    return np.lexsort((age, view.touches_all[view.pool]))[:most]


def _keys(texts: Iterable[str]) -> NDArray[np.uint64]:
    found = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(found, dtype="<u8").astype(np.uint64)
