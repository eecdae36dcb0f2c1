"""Training cases: what users went on to touch after past moments, with the features of those moments.

A run at τ publishes buckets τ … τ + hours and knows nothing after τ. So a case is (user, bucket, lag) with the features
as of a past moment, and the posts that the user touched for the first time in that bucket against sampled untouched
ones. Where the log holds what was shown (some action of relevance 0), the cases are those of shown_rows.py.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batch.features.matrix import Column, gather
from batch.features.view import History, View
from batch.shown_rows import shown_moments, shown_rows
from batch.tables import HOUR_S, Floats, Ints

_FEWEST_MOMENTS = 60
_EVENTS_LOOKED_THROUGH = 80_000_000
"""Events that all moments together look through: of a short log every hour is a moment, of a long one fewer are."""
_LATER_SHARE = 0.25
"""Cases beyond the next run, against those before it: they matter only when that run is late."""
_HOT_POSTS = 200
_HOT_SHARE = 0.6
_MOST_POSTS = 1_000
"""Posts in a case: who meets more in an hour is a machine, and LightGBM takes no group of more than 10,000 rows."""
_WARM_UP = 0.2
"""Share of a short log that is left to fill the features before the first case."""


@dataclass(frozen=True)
class Cases:
    """Rows by group. matrix : float32 (n_rows, n_columns). grade : int32 (n_rows,), 0: none. group : sizes.

    chance : float64 (n_rows,), above 0 to 1: how likely the row's post was to be among the untouched ones drawn.
    """

    matrix: NDArray[np.float32]
    grade: NDArray[np.int32]
    group: Ints
    chance: Floats


@dataclass(frozen=True)
class Rows:
    """Which cells of a moment make its cases. user, place, bucket : int64 (n_rows,): index, place in the pool, hour.

    grade : int32 (n_rows,), 0: none. group : sizes, int64 (n_groups,); the rows of a group stand together. chance : as
    in Cases.
    """

    user: Ints
    place: Ints
    bucket: Ints
    grade: NDArray[np.int32]
    group: Ints
    chance: Floats


@dataclass(frozen=True)
class Sampling:
    """How cases are drawn: from the last `days`, at most `groups`, each with about `negatives` untouched posts.

    A run publishes `hours` buckets, but the next one comes after `refresh_h`: users see the buckets before that. No
    case is of a moment before `since_s`.
    """

    days: int
    groups: int
    negatives: int
    hours: int
    refresh_h: int
    seed: int
    since_s: int = 0


def moments_before(history: History, as_of_s: int, sampling: Sampling) -> list[int]:
    """Return past as-of times, oldest first: all hours before `as_of_s` with a past, or a sample of them."""
    times = history.tables.events.at_s
    if not len(times):
        return []
    first = int(times[0])
    begin = max(as_of_s - sampling.days * 24 * HOUR_S, first + int(_WARM_UP * (as_of_s - first)), sampling.since_s)
    if history.shown_known:
        return shown_moments(begin, as_of_s)
    hours = np.arange(as_of_s - HOUR_S, begin, -HOUR_S)[::-1]
    most = max(_FEWEST_MOMENTS, _EVENTS_LOOKED_THROUGH // len(times))
    if len(hours) > most:  # drawn, since an even step would never meet some hours of the day
        hours = np.sort(np.random.default_rng(sampling.seed).choice(hours, most, replace=False))
    return [int(moment_s) for moment_s in hours]


def split_s(history: History, as_of_s: int, sampling: Sampling) -> int:
    """Return where the cases of two models part, of which the second learns from what the first one says.

    The second gets the last `days`, or half of what there is where the log is shorter than twice that.
    """
    moments = moments_before(history, as_of_s, replace(sampling, days=2 * sampling.days))
    middle = moments[len(moments) // 2] if moments else as_of_s
    return max(middle, as_of_s - sampling.days * 24 * HOUR_S)


def draw_cases(
    history: History,
    columns: list[Column],
    as_of_s: int,
    sampling: Sampling,
    pool_at: Callable[[View], Ints],
    progress: Callable[[int, int], None],
) -> Cases:
    """Draw the cases of all past moments; `progress` hears (moments done, moments)."""
    moments = moments_before(history, as_of_s, sampling)
    drawn = [_no_cases(columns)]
    for view, rows in draw_rows(history, moments, as_of_s, sampling, pool_at, progress):
        matrix = gather(view, columns, rows.user, rows.place, rows.bucket)
        drawn.append(Cases(matrix, rows.grade, rows.group, rows.chance))
    return Cases(
        matrix=np.concatenate([cases.matrix for cases in drawn]),
        grade=np.concatenate([cases.grade for cases in drawn]),
        group=np.concatenate([cases.group for cases in drawn]),
        chance=np.concatenate([cases.chance for cases in drawn]),
    )


def draw_rows(
    history: History,
    moments: list[int],
    as_of_s: int,
    sampling: Sampling,
    pool_at: Callable[[View], Ints],
    progress: Callable[[int, int], None],
) -> Iterator[tuple[View, Rows]]:
    """Draw the cases of past moments, without features yet; moments without any are passed over."""
    ends = [*moments[1:], as_of_s]
    for place, moment_s in enumerate(moments):
        view = View(history, moment_s)
        view.pool = pool_at(view)
        random = np.random.default_rng([sampling.seed, moment_s])
        share = sampling.groups // len(moments) + 1
        if history.shown_known:
            found = shown_rows(view, ends[place], share, random)
            rows = Rows(*found, chance=np.ones(len(found[0])))
        else:
            rows = _rows_at(view, as_of_s, sampling, share, random)
        if len(rows.user):
            yield view, rows
        progress(place + 1, len(moments))


def _no_cases(columns: list[Column]) -> Cases:
    return Cases(
        np.zeros((0, len(columns)), dtype=np.float32),
        np.zeros(0, dtype=np.int32),
        np.zeros(0, dtype=np.int64),
        np.zeros(0),
    )


def _rows_at(view: View, as_of_s: int, sampling: Sampling, most: int, random: np.random.Generator) -> Rows:
    user, bucket, place, grade = _touched(view, as_of_s, sampling.hours)
    case = user * 2**31 + bucket
    met, n_posts = np.unique(case, return_counts=True)
    chosen = np.intersect1d(case[grade > 0], met[n_posts <= _MOST_POSTS])
    next_run = view.tau_s // HOUR_S + sampling.refresh_h
    chosen = _choose(chosen, chosen % 2**31 < next_run, most, random)
    if not len(chosen):
        none = np.zeros(0, dtype=np.int64)
        return Rows(none, none, none, none.astype(np.int32), none, np.zeros(0))
    kept = np.isin(case, chosen)
    at = np.searchsorted(chosen, case[kept])
    against = _untouched(view, chosen // 2**31, sampling.negatives, random)
    rows = np.concatenate([at * view.n_posts + place[kept], against])
    grades = np.concatenate([grade[kept], np.zeros(len(against), dtype=np.int32)])
    rows, first = np.unique(rows, return_index=True)  # a touched post stands first, so its grade stays
    group_of, place_of = rows // view.n_posts, rows % view.n_posts
    return Rows(
        user=chosen[group_of] // 2**31,
        place=place_of,
        bucket=chosen[group_of] % 2**31,
        grade=grades[first].astype(np.int32),
        group=np.bincount(group_of, minlength=len(chosen)),
        chance=_chance(place_of, len(view.pool), sampling.negatives),
    )


def _choose(cases: Ints, soon: NDArray[np.bool_], most: int, random: np.random.Generator) -> Ints:
    """Draw at most `most` cases, ascending: those before the next run first, and some of the later ones."""
    first, later = cases[soon], cases[~soon]
    first = random.choice(first, min(len(first), most), replace=False)
    n_later = min(len(later), most - len(first), math.ceil(_LATER_SHARE * len(first)))
    return np.sort(np.concatenate([first, random.choice(later, n_later, replace=False)]))


def _touched(view: View, as_of_s: int, hours: int) -> tuple[Ints, Ints, Ints, NDArray[np.int32]]:
    """Return what was touched for the first time in the buckets that a run at τ would have published.

    Each (user, bucket, post) once, with the highest grade of the user's actions on the post in that bucket. Posts that
    were not in the pool at τ cannot be shown and are left out.
    """
    tables = view.history.tables
    events = tables.events
    first_bucket = view.tau_s // HOUR_S
    end_s = min((first_bucket + hours) * HOUR_S, as_of_s)
    span = slice(view.n_events, int(np.searchsorted(events.at_s, end_s, side="left")))
    user, post = events.user[span].astype(np.int64), events.post[span].astype(np.int64)
    bucket, place = events.at_s[span] // HOUR_S, view.place[post]
    met = (user * view.n_posts + post) * (hours + 1) + bucket - first_bucket
    at_first = np.isin(met, met[view.history.first[span]])  # a like in the bucket of the first view counts too
    new = at_first & (place >= 0)
    cell = (user[new], bucket[new], place[new])
    grade = tables.relevance[events.action[span]][new].astype(np.int32)
    order = np.lexsort((-grade, *cell[::-1]))
    user, bucket, place, grade = cell[0][order], cell[1][order], cell[2][order], grade[order]
    same = (np.diff(user) == 0) & (np.diff(bucket) == 0) & (np.diff(place) == 0)
    keep = np.concatenate((np.ones(min(1, len(user)), dtype=bool), ~same))
    return user[keep], bucket[keep], place[keep], grade[keep]


def _untouched(view: View, users: Ints, negatives: int, random: np.random.Generator) -> Ints:
    """Sample places in the pool for each user, hot ones more often, without those that the user had touched before τ.

    Returns group × n_posts + place, with repeats. The pool is ordered by popularity, so the hot posts come first.
    """
    n_pool = len(view.pool)
    if not n_pool or not len(users):
        return np.zeros(0, dtype=np.int64)
    n_hot, hot_posts = _hot(n_pool, negatives)
    hot = random.integers(0, hot_posts, (len(users), n_hot))
    any_post = random.integers(0, n_pool, (len(users), negatives - n_hot))
    place = np.concatenate([hot, any_post], axis=1)
    group = np.broadcast_to(np.arange(len(users))[:, None], place.shape)
    events = view.history.tables.events
    of_users = np.zeros(view.n_users, dtype=bool)
    of_users[users] = True
    past = np.flatnonzero(of_users[events.user[: view.n_events]])
    acted = events.user[past].astype(np.int64) * view.n_posts + events.post[past]
    fresh = ~np.isin(users[group] * view.n_posts + view.pool[place], acted)
    return np.asarray((group * view.n_posts + place)[fresh])


def _hot(n_pool: int, negatives: int) -> tuple[int, int]:
    """Return how many of a case's untouched posts come from the most popular ones alone, and how many those are."""
    return int(negatives * _HOT_SHARE), min(_HOT_POSTS, n_pool)


def _chance(place: Ints, n_pool: int, negatives: int) -> Floats:
    """Return how likely `_untouched` is to draw each place; shape of `place`."""
    n_hot, hot_posts = _hot(n_pool, negatives)
    missed = np.where(place < hot_posts, (1 - 1 / hot_posts) ** n_hot, 1.0) * (1 - 1 / n_pool) ** (negatives - n_hot)
    return np.asarray(1 - missed)
