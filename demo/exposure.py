"""Who is shown what: groups by segment, and within a group the fresh posts more often than the old."""

import numpy as np

from demo.network import GROUPS, SEGMENTS, Floats, Ints, Posts
from demo.parameters import Parameters

VIEWS_OF_A_POST = (6_700.0, 17_000.0, 22_000.0, 8_200.0)
"""How often a post of each group was shown over the course's log."""

ARENA_FACTOR = 3.6
"""Segment C is shown the group `arena`, which it dislikes, this many times as often as the others are."""

_SEGMENT_SHARES = np.array([0.57, 0.28, 0.15])
_OLD = 0.1  # what freshness leaves of the weight of a post of any age
_SPREAD = 0.25


def group_shares(posts_of_group: Ints) -> Floats:
    """Return the share of each group in what a segment is shown, shape (segments, groups); rows add up to 1."""
    views: Floats = np.array(VIEWS_OF_A_POST) * posts_of_group
    overall: Floats = views / views.sum()
    arena, segment_c = GROUPS.index("arena"), SEGMENTS.index("C")
    shares = np.tile(overall, (len(SEGMENTS), 1))
    if not 0 < overall[arena] < 1:
        return shares
    factors = np.ones(len(SEGMENTS))
    factors[segment_c] = ARENA_FACTOR
    wanted = np.minimum(overall[arena] * factors / (_SEGMENT_SHARES @ factors), 0.9)
    shares *= ((1 - wanted) / (1 - overall[arena]))[:, None]
    shares[:, arena] = wanted
    return shares


class Exposure:
    """Draws the posts that are shown.

    A post of age a has the weight e · (0.1 + 0.9 · 2^(-a / half-life)). Either term is a constant of the post times
    a factor of the moment. So two running sums over the posts, by time of publication, are all that is needed to
    draw at any moment, whatever the length of the log.
    """

    def __init__(self, posts: Posts, parameters: Parameters, rng: np.random.Generator) -> None:
        weight = np.exp(rng.normal(0, _SPREAD, posts.post_id.size))
        self._end_s, self._half_life_s = parameters.end_s, parameters.half_life_d * 86_400
        self._cumulative_shares = np.cumsum(group_shares(np.bincount(posts.group, minlength=len(GROUPS))), axis=1)
        self._order: list[Ints] = []
        self._published: list[Ints] = []
        self._plain: list[Floats] = []
        self._fresh: list[Floats] = []
        for group in range(len(GROUPS)):
            members = np.flatnonzero(posts.group == group)
            members = members[np.argsort(posts.published_s[members], kind="stable")]
            published = posts.published_s[members]
            self._order.append(members)
            self._published.append(published)
            self._plain.append(np.cumsum(weight[members]))
            self._fresh.append(np.cumsum(weight[members] * np.exp2((published - self._end_s) / self._half_life_s)))

    def draw(self, rng: np.random.Generator, segment: Ints, hour_s: Ints) -> Ints:
        """Return one post (its place) for each viewer's segment and start of the hour, seconds since 1970."""
        n = segment.size
        cumulative = self._cumulative_shares[segment]
        group = (rng.random(n)[:, None] * cumulative[:, -1:] >= cumulative[:, :-1]).sum(axis=1)
        return self.draw_in_group(rng, group, hour_s)

    def draw_in_group(self, rng: np.random.Generator, group: Ints, hour_s: Ints) -> Ints:
        """Return one post of each given group that was published by the given moment."""
        which, where = rng.random(group.size), rng.random(group.size)
        post = np.empty(group.size, dtype=np.int64)
        for index, order in enumerate(self._order):
            asked = np.flatnonzero(group == index)
            if asked.size:
                post[asked] = order[self._place(index, hour_s[asked], which[asked], where[asked])]
        return post

    def _place(self, group: int, hour_s: Ints, which: Floats, where: Floats) -> Ints:
        plain, fresh = self._plain[group], self._fresh[group]
        last = np.searchsorted(self._published[group], hour_s, side="right") - 1
        old_mass = _OLD * plain[last]
        fresh_mass = (1 - _OLD) * fresh[last] * np.exp2((self._end_s - hour_s) / self._half_life_s)
        is_old = which * (old_mass + fresh_mass) < old_mass
        place = np.where(
            is_old,
            np.searchsorted(plain, where * plain[last], side="right"),
            np.searchsorted(fresh, where * fresh[last], side="right"),
        )
        return np.minimum(place, last)
