"""The simulated log: sessions of views, and the likes that follow some of them."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from demo.exposure import Exposure
from demo.likes import make_oracle
from demo.network import Ints, Posts, Users, make_posts, make_users
from demo.oracle import Oracle
from demo.parameters import LIKES, SESSIONS, Parameters

BLOCK_USERS = 500
"""Users that share a random stream. A part of the definition of a simulation: another number is another log."""

EVENT = np.dtype([("time_s", "<i8"), ("user", "<i4"), ("post", "<i4"), ("like", "?"), ("target", "?")])
"""An event in 18 bytes: seconds since 1970, places of user and post, whether it is a like, a view's target."""

Events: TypeAlias = npt.NDArray[np.void]

_OPENS_S, _LAST_START_S, _DAY_S = 6 * 3_600, 23 * 3_600, 86_400
_VIEWS_MEAN, _VIEWS_SPREAD, _VIEWS_MOST = 28.9, 4.4, 38
_GAP_LEAST_S, _GAP_MOST_S = 10, 179
_LIKE_BEFORE_NEXT_S = 2
_REDRAWS = 40
_CHAINED = 1.1  # some views show what was shown again before, so that more are needed for as many pairs


@dataclass(frozen=True)
class Network:
    """Users, posts, what is shown and what is liked."""

    parameters: Parameters
    users: Users
    posts: Posts
    exposure: Exposure
    oracle: Oracle

    @property
    def blocks(self) -> int:
        """How many blocks of users there are."""
        return -(-self.parameters.users // BLOCK_USERS)


def make_network(parameters: Parameters) -> Network:
    """Draw all but the log."""
    users, posts, rng = make_users(parameters), make_posts(parameters), parameters.stream(LIKES)
    exposure = Exposure(posts, parameters, rng)
    return Network(parameters, users, posts, exposure, make_oracle(users, posts, exposure, parameters, rng))


def events_of_block(network: Network, block: int) -> Events:
    """Return the events of the block's users, dtype EVENT, in no order; it depends on no other block."""
    parameters, rng = network.parameters, network.parameters.stream(SESSIONS, block)
    user, time_s, gap_s = _views(rng, network, block)
    inside = (time_s >= parameters.start_s) & (time_s < parameters.end_s)
    user, time_s, gap_s = user[inside], time_s[inside], gap_s[inside]
    post = _shown(rng, network, user, time_s // 3_600 * 3_600)
    kept = post >= 0
    user, time_s, gap_s, post = user[kept], time_s[kept], gap_s[kept], post[kept]
    probability = network.oracle.by_place(user, post, time_s // 3_600)
    like_time_s = time_s + gap_s - _LIKE_BEFORE_NEXT_S
    liked = (rng.random(user.size) < probability) & (like_time_s < parameters.end_s)
    events = np.zeros(user.size + int(liked.sum()), dtype=EVENT)
    views, likes = events[: user.size], events[user.size :]
    views["time_s"], views["user"], views["post"], views["target"] = time_s, user, post, liked
    likes["time_s"], likes["user"], likes["post"], likes["like"] = like_time_s[liked], user[liked], post[liked], True
    return events


def _views(rng: np.random.Generator, network: Network, block: int) -> tuple[Ints, Ints, Ints]:
    """Return user, time and the gap to the next view of every view, by user and time."""
    parameters, first = network.parameters, block * BLOCK_USERS
    members = slice(first, first + BLOCK_USERS)
    joined = network.users.joined_day[members, None]
    days = np.arange(parameters.last_day - parameters.first_day + 1)
    active = (rng.random((joined.size, days.size)) < network.users.active_share[members, None]) & (days > joined)
    active |= days == joined  # whoever joins has a look around
    active &= ~network.users.cold[members, None]
    user, day = np.nonzero(active)
    views = np.clip(np.rint(rng.normal(_VIEWS_MEAN, _VIEWS_SPREAD, user.size)), 1, _VIEWS_MOST).astype(np.int64)
    gap_s = rng.integers(_GAP_LEAST_S, _GAP_MOST_S, views.sum(), endpoint=True)
    elapsed_s = np.concatenate(([0], np.cumsum(gap_s)))
    first_view = np.cumsum(views) - views
    length_s = elapsed_s[first_view + views] - elapsed_s[first_view]
    start_s = np.minimum(rng.integers(_OPENS_S, _LAST_START_S, user.size), _DAY_S - length_s)
    start_s += (parameters.first_day + day) * _DAY_S
    time_s = np.repeat(start_s - elapsed_s[first_view], views) + elapsed_s[:-1]
    return np.repeat(first + user, views), time_s, gap_s


def _shown(rng: np.random.Generator, network: Network, user: Ints, hour_s: Ints) -> Ints:
    """Return the post of each view (views by user and time), -1 where the user has seen all there was to draw.

    A user sees a post once, but for `repeat_share` of the pairs: those views show something again.
    """
    share = network.parameters.repeat_share
    again = rng.random(user.size) < _CHAINED * share / (1 + share)
    first_of_user = np.searchsorted(user, user)
    before = np.arange(user.size) - first_of_user
    source = first_of_user + (rng.random(user.size) * before).astype(np.int64)
    again &= before > 0
    post = np.full(user.size, -1, dtype=np.int64)
    pending = np.flatnonzero(~again)
    for _ in range(_REDRAWS):
        post[pending] = network.exposure.draw(rng, network.users.segment[user[pending]], hour_s[pending])
        pending = _duplicates(user, post, network.posts.post_id.size)
        if not pending.size:
            break
    post[pending] = -1
    while again.any():  # each source lies before its view, so this ends
        ready = np.flatnonzero(again & ~again[source])
        post[ready] = post[source[ready]]
        again[ready] = False
    return post


def _duplicates(user: Ints, post: Ints, posts: int) -> Ints:
    """Return the views, but for the first one, in which a user is shown a post again."""
    key = np.where(post < 0, -1, user * posts + post)
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    return np.sort(order[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)])
