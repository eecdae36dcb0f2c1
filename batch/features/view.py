"""The view: what is known at a moment τ. Every feature is computed from it, so none can look ahead."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from batch.features.orders import Orders, order_events
from batch.features.segments import Segments
from batch.features.signs import signs_of
from batch.features.together import table_together, touched_together
from batch.features.vocabulary import Vocabularies
from batch.kernels import cosines_of_table, to_cosines
from batch.passes import Places, count, count_where, last_values, latest_of_each, reordered, sum_halved
from batch.tables import HOUR_S, Floats, Ints, Tables, is_number
from batch.text.clusters import Clusters, nearest
from batch.text.encoder import TextEncoder

if TYPE_CHECKING:
    from batch.neural.network import Network

_T = TypeVar("_T")

KNN_ITEMS = 100
"""Posts of a user, the latest ones, that enter the item-to-item similarities."""
_MOST_IN_TABLE = 8_000
"""Posts whose similarities are laid out as a table: a quarter of a gigabyte."""
TASTE_ITEMS = 20
"""Posts of a user, the latest ones, that speak for the user's taste."""
DECAYED_HALF_LIVES = 12
"""Half-lives after which a touch is forgotten."""
TASTE_DECAY = 0.85
"""Weight of each earlier post against the next later one."""


@dataclass(frozen=True)
class History:
    """What all views of a batch share: the tables, and orders of the events that hold at every moment.

    orders : of the events; its by_user, start, first and firsts_by_post are those of the history. strong : bool,
    (n_events,), the action says more than a view.
    text : float32, (n_posts, dims), unit rows (zero where there is no text), or None; encoder : what made them;
    clusters : of them, None without. topic : int64, (n_posts,), codes, the last of `n_topics` for posts without one.
    network : of the neural recommender, if any.
    """

    tables: Tables
    vocabularies: Vocabularies
    segments: Segments
    text: NDArray[np.float32] | None
    orders: Orders
    strong: NDArray[np.bool_]
    topic: Ints
    n_topics: int
    encoder: TextEncoder | None
    network: "Network | None" = None
    clusters: Clusters | None = None
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, name: str, compute: Callable[[], _T]) -> _T:
        """Return what `compute` returns, computed once a history; the name must say as of when."""
        if name not in self.kept:
            self.kept[name] = compute()
        return cast("_T", self.kept[name])

    def __getstate__(self) -> dict[str, Any]:
        """Leave out, for another process, what only makes new histories; an encoder may be bound to its process."""
        return self.__dict__ | {"encoder": None}

    @cached_property
    def cluster_distances(self) -> NDArray[np.float32]:
        """Return each post's distances to all centres, NaN without text; (n_posts, n_clusters), 0 of them without."""
        if self.text is None or self.clusters is None:
            return np.zeros((len(self.tables.posts.ids), 0), dtype=np.float32)
        return self.clusters.distances(self.text)

    @cached_property
    def cluster(self) -> Ints:
        """Return each post's cluster, the number of clusters for one without text; shape (n_posts,)."""
        return nearest(self.cluster_distances)

    @cached_property
    def profile(self) -> dict[str, Floats]:
        """Return the profile columns as numbers, texts as codes; each of shape (n_users,)."""
        return {
            name: column if is_number(column) else self.vocabularies.codes(name, column)
            for name, column in self.tables.users.profile.items()
        }

    @property
    def by_user(self) -> Places:
        """Return the event indices by (user, time)."""
        return self.orders.by_user

    @property
    def start(self) -> Ints:
        """Return where each user's events begin in `by_user`."""
        return self.orders.start

    @property
    def first(self) -> NDArray[np.bool_]:
        """Say which events are the first of their user on their post."""
        return self.orders.first

    @property
    def firsts_by_post(self) -> tuple[Places, Ints]:
        """Return the first touches by (post, time), and where each post's begin."""
        return self.orders.firsts_by_post

    @cached_property
    def strong_by_user(self) -> NDArray[np.bool_]:
        """Return `strong` in the order of `by_user`, so that a pass over users reads it in a row."""
        return reordered(self.strong, self.by_user)

    @cached_property
    def author_user(self) -> Ints:
        """Return the index of the user who is each post's author, -1 where that is unknown or nobody; (n_posts,)."""
        posts, index = self.tables.posts, {}
        if (posts.author != "").any():
            index = {str(user_id): place for place, user_id in enumerate(self.tables.users.ids)}
        return np.array([index.get(str(author), -1) for author in posts.author], dtype=np.int64)

    @cached_property
    def signs(self) -> NDArray[np.float32]:
        """Return the random signs that stand for each user ; float32 (n_users, dims)."""
        return signs_of(self.tables.users.ids)

    @property
    def shown_known(self) -> bool:
        """Say whether the log holds what was shown: some action means no more than that."""
        return bool(self.tables.relevance.min(initial=9) == 0)


def build_history(
    tables: Tables,
    vocabularies: Vocabularies,
    segments: Segments,
    encoder: TextEncoder | None,
    clusters: Clusters | None = None,
    orders: Orders | None = None,
) -> History:
    """Order the events once, for all views; `orders` are those of another history of the same tables."""
    events = tables.events
    topic = vocabularies.codes("topic", tables.posts.topic)
    return History(
        tables=tables,
        vocabularies=vocabularies,
        segments=segments,
        text=encoder.encode(tables.posts.text.tolist()) if encoder else None,
        orders=orders or order_events(tables),
        strong=(tables.relevance > tables.relevance.min(initial=9))[events.action],
        topic=np.where(np.isnan(topic), vocabularies.size("topic"), topic).astype(np.int64),
        n_topics=vocabularies.size("topic") + 1,
        encoder=encoder,
        clusters=clusters,
    )


class _OfThread(threading.local):
    """What a view has computed for the users that a thread asked for last."""

    users: Ints | None = None
    kept: dict[str, Any]


class View:
    """The past of a moment: events before `tau_s` (seconds since 1970), and the posts that exist then.

    `pool` holds the indices of the posts to be scored; features on the post axis are computed for all posts, those on
    user×post for the pool alone. `network` is that of the model to score with, if it has one.
    """

    def __init__(self, history: History, tau_s: int, pool: Ints | None = None) -> None:
        self.history = history
        self.network = history.network
        self.tau_s = tau_s
        self.n_users = len(history.tables.users.ids)
        self.n_posts = len(history.tables.posts.ids)
        self.n_events = int(np.searchsorted(history.tables.events.at_s, tau_s, side="left"))
        posts = history.tables.posts
        self.exists = (posts.born_s < tau_s) & ~posts.hidden
        self.pool = np.flatnonzero(self.exists) if pool is None else pool
        self._once: dict[str, Any] = {}
        self._for_users = _OfThread()
        self._locks: dict[str, threading.RLock] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was kept for the users asked for last: in another process they are no longer the same ones."""
        return {name: value for name, value in self.__dict__.items() if name not in {"_for_users", "_locks"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was computed once from the other process."""
        self.__dict__ |= state | {"_for_users": _OfThread(), "_locks": {}}

    @cached_property
    def place(self) -> Ints:
        """Return each post's place in the pool, -1 outside; shape (n_posts,)."""
        place = np.full(self.n_posts, -1, dtype=np.int64)
        place[self.pool] = np.arange(len(self.pool))
        return place

    def once(self, name: str, compute: Callable[[], _T]) -> _T:
        """Return what `compute` returns, computed once a view, whatever threads ask."""
        if name not in self._once:
            with self._locks.setdefault(name, threading.RLock()):
                if name not in self._once:
                    self._once[name] = compute()
        return cast("_T", self._once[name])

    def for_users(self, name: str, users: Ints, compute: Callable[[], _T]) -> _T:
        """Return what `compute` returns, kept until this thread asks for other `users`."""
        if self._for_users.users is not users:
            self._for_users.users, self._for_users.kept = users, {}
        kept = self._for_users.kept
        if name not in kept:
            kept[name] = compute()
        return cast("_T", kept[name])

    def window(self, hours: float) -> slice:
        """Return the events of the last `hours` before τ."""
        earliest = math.ceil(self.tau_s - hours * HOUR_S)  # whole, as numpy would turn the whole log into fractions
        return slice(int(np.searchsorted(self.history.tables.events.at_s, earliest, side="left")), self.n_events)

    def touches(self, hours: float) -> Floats:
        """Count users by post who touched it for the first time in the last `hours`; shape (n_posts,)."""
        span = self.window(hours)
        posts = self.history.tables.events.post[span][self.history.first[span]]
        return np.bincount(posts, minlength=self.n_posts).astype(np.float64)

    def decayed(self, half_life_h: float) -> Floats:
        """Sum first touches by post, each halved every `half_life_h`; shape (n_posts,)."""

        def compute() -> Floats:
            span, events = self.window(half_life_h * DECAYED_HALF_LIVES), self.history.tables.events
            of_span = events.at_s[span], events.post[span], self.history.first[span]
            return sum_halved(*of_span, self.tau_s, half_life_h * HOUR_S, self.n_posts)

        return self.once(f"decayed {half_life_h}", compute)

    def faded(self, power: float) -> Floats:
        """Sum the last week's first touches by post, each weighted by (1 + age in hours)^-power; shape (n_posts,).

        Attention fades by a power of time rather than by halves (Crane and Sornette, PNAS 2008): quick to forget, it
        still tells old posts apart.
        """

        def compute() -> Floats:
            span = self.window(168)
            events, first = self.history.tables.events, self.history.first[span]
            weight = self.fade(events.at_s[span][first], power)
            return np.bincount(events.post[span][first], weights=weight, minlength=self.n_posts).astype(np.float64)

        return self.once(f"faded {power}", compute)

    def fade(self, at_s: Ints, power: float) -> Floats:
        """Return the weight of events at `at_s`: (1 + age in hours)^-power; same shape."""
        return np.asarray((1 + (self.tau_s - at_s) / HOUR_S) ** -power, dtype=np.float64)

    @cached_property
    def dated_s(self) -> Floats:
        """Return from when on each post's age counts, NaN where τ does not know it yet; shape (n_posts,)."""
        dated = self.history.tables.posts.dated_s
        return np.where(dated < self.tau_s, dated, np.nan)

    @cached_property
    def touches_all(self) -> Floats:
        """Count all first touches by post; shape (n_posts,)."""
        post, first = self.history.tables.events.post[: self.n_events], self.history.first[: self.n_events]
        return count_where(post, first, self.n_posts).astype(np.float64)

    @cached_property
    def trend(self) -> Floats:
        """Popularity with a half-life of a day, as a share of all; shape (n_posts,)."""
        decayed = self.decayed(24)
        return np.asarray(decayed / max(decayed.sum(), 1e-9))

    @cached_property
    def last_touch_s(self) -> Floats:
        """Return when each post was last touched, NaN for never; shape (n_posts,)."""
        events = self.history.tables.events
        return last_values(events.post[: self.n_events], events.at_s[: self.n_events], self.n_posts)

    @cached_property
    def end(self) -> Ints:
        """Return where each user's past ends in `history.by_user`; shape (n_users,)."""
        counts = count(self.history.tables.events.user[: self.n_events], self.n_users)
        return np.asarray(self.history.start[:-1] + counts, dtype=np.int64)

    def recent(self, users: Ints, items: int) -> tuple[Places, NDArray[np.bool_]]:
        """Return the latest events of `users`, newest first, and which of them exist; both (len(users), items)."""
        position = self.end[users][:, None] - 1 - np.arange(items)
        known = position >= self.history.start[users][:, None]
        return self.history.by_user[np.where(known, position, 0)] if self.n_events else position * 0, known

    def taste(self, users: Ints) -> sparse.csr_array:
        """Return the latest posts of `users` with weights that fall with their rank; sparse (len(users), n_posts)."""
        events, known = self.recent(users, TASTE_ITEMS)
        weight = np.broadcast_to(TASTE_DECAY ** np.arange(TASTE_ITEMS), known.shape)
        row = np.broadcast_to(np.arange(len(users))[:, None], known.shape)
        post = self.history.tables.events.post[events] if self.n_events else events
        cells = (weight[known], (row[known], post[known]))
        return sparse.csr_array(sparse.coo_array(cells, shape=(len(users), self.n_posts)))

    @cached_property
    def similarity(self) -> sparse.csr_array:
        """Return the cosine of the sets of users who touched two posts, shrunk; sparse (n_posts, n_posts), float32.

        Item-based collaborative filtering after Sarwar et al., WWW 2001.
        """
        begin, post, norm = self._sets_of_posts()
        together = touched_together(begin, post, self.n_posts)
        to_cosines(together.indptr, together.indices, together.data, norm)
        return together

    def similarity_table(self) -> NDArray[np.float32] | None:
        """Return `similarity_to_pool` laid out, None where that takes too much memory; float32 (n_posts, n_pool).

        Adding up whole rows of it is five times as quick as adding up sparse ones.
        """
        if self.n_posts > _MOST_IN_TABLE:
            return None
        return self.once("similarity as a table", self._similarity_table)

    def _similarity_table(self) -> NDArray[np.float32]:
        begin, post, norm = self._sets_of_posts()
        together = table_together(begin, post, self.n_posts)
        table = np.empty((self.n_posts, len(self.pool)), dtype=np.float32)
        cosines_of_table(together, norm, self.pool, table)
        return table

    def _sets_of_posts(self) -> tuple[Ints, NDArray[np.int32], Floats]:
        """Return where each user's latest posts begin, these posts, and the norm of each post's set of users."""
        history = self.history
        known = history.orders.first_by_user
        begin, kept = latest_of_each(history.by_user, history.start, known, self.n_events, KNN_ITEMS)
        post = history.tables.events.post[kept]
        return begin, post, np.sqrt(np.bincount(post, minlength=self.n_posts) + 2.0)

    @cached_property
    def similarity_to_pool(self) -> sparse.csr_array:
        """Return the columns of `similarity` that belong to the pool; sparse (n_posts, n_pool)."""
        whole = self.similarity
        column = self.place.astype(whole.indices.dtype)[
            whole.indices
        ]  # quicker than to select columns, which turns the matrix over twice
        kept = column >= 0
        begin = np.concatenate(([0], np.cumsum(kept)))[whole.indptr].astype(whole.indptr.dtype)
        return sparse.csr_array((whole.data[kept], column[kept], begin), shape=(self.n_posts, len(self.pool)))

    @cached_property
    def topic_share(self) -> Floats:
        """Return the share of each topic in all first touches, smoothed; shape (n_topics,)."""
        counts = np.bincount(self.history.topic, weights=self.touches_all, minlength=self.history.n_topics) + 1.0
        return np.asarray(counts / counts.sum())
