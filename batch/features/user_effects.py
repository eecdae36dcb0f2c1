"""What each user adds to the log-odds of the response model, and each user's taste by topic, the rest being given.

Users do not touch each other once hours, ages, posts and profiles are known, so they are fitted one by one: a few
sweeps of Newton steps, as in effects.py, over what the user was shown.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.view import History
from batch.passes import Places
from batch.tables import HOUR_S, Floats, Ints

_SWEEPS = 6
_USERS_AT_ONCE = 64
_DAY_S = 24 * HOUR_S


@dataclass(frozen=True)
class Moments:
    """The log-odds by moment. average : of all. hour : (24,). day : by day from `first_day` on. age : by class of age.

    dated_s : seconds since 1970 from which on a post's age counts, NaN where unknown; (n_posts,).
    """

    average: float
    hour: Floats
    day: Floats
    first_day: int
    age: Floats
    dated_s: Floats


@njit(cache=True, nogil=True)
def _age_class(age_s: float, n_classes: int) -> int:
    """Return the class of an age, two an octave from 4 hours on; an unknown age (NaN) counts as none."""
    age_h = age_s / 3600.0 if age_s > 0 else 0.0
    return min(max(int(np.rint(2 * np.log2(age_h + 4) - 4)), 0), n_classes - 1)


@njit(cache=True, nogil=True)
def age_classes(age_s: Floats, n_classes: int) -> Ints:
    """Return the class of each age; same shape, (n,)."""
    classes = np.empty(len(age_s), dtype=np.int64)
    for place in range(len(age_s)):
        classes[place] = _age_class(age_s[place], n_classes)
    return classes


def user_effects(
    history: History,
    users: Ints,
    n_events: int,
    moments: Moments,
    profiles: tuple[Floats, Floats],
    variances: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Return the effects of `users`, (len(users),), and of their topics, (len(users), n_topics), from n_events events.

    profiles : vectors of all users and posts, (n_users, k) and (n_posts, k), whose product is what the profile says.
    variances : of users' effects, and of tastes; 0 for none.
    """
    events = history.tables.events
    user = np.zeros(len(users))
    taste = np.zeros((len(users), history.n_topics))
    _fit_users(
        users,
        history.by_user,
        history.start,
        n_events,
        events.at_s,
        events.post,
        history.first,
        history.strong,
        history.topic,
        (moments.average, moments.first_day),
        (moments.hour, moments.day, moments.age, moments.dated_s),
        (np.ascontiguousarray(profiles[0]), np.ascontiguousarray(profiles[1])),
        variances,
        user,
        taste,
    )
    return user, taste


@njit(parallel=True, cache=True, nogil=True)
def _fit_users(
    users: Ints,
    by_user: Places,
    start: Ints,
    n_events: int,
    at_s: Ints,
    post: NDArray[np.int32],
    first: NDArray[np.bool_],
    strong: NDArray[np.bool_],
    topic: Ints,
    fixed: tuple[float, int],
    moments: tuple[Floats, Floats, Floats, Floats],
    profiles: tuple[Floats, Floats],
    variances: tuple[float, float],
    user_out: Floats,
    taste_out: Floats,
) -> None:
    n_topics = taste_out.shape[1]
    average, first_day = fixed
    hour, day, age, dated_s = moments
    of_user, of_post = profiles
    for chunk in prange((len(users) + _USERS_AT_ONCE - 1) // _USERS_AT_ONCE):
        gradient, curvature = np.zeros(n_topics), np.zeros(n_topics)
        responded_by = np.full(len(of_post), -1, dtype=np.int64)
        for row in range(chunk * _USERS_AT_ONCE, min((chunk + 1) * _USERS_AT_ONCE, len(users))):
            user = users[row]
            for place in range(start[user], start[user + 1]):
                if by_user[place] < n_events and strong[by_user[place]]:
                    responded_by[post[by_user[place]]] = user
            most = start[user + 1] - start[user]
            log_odds, happened = np.empty(most), np.empty(most)
            of_topic = np.empty(most, dtype=np.int64)
            n_shown = 0
            for place in range(start[user], start[user + 1]):
                event = by_user[place]
                if event >= n_events or not first[event]:
                    continue
                seen = post[event]
                odds = average + hour[at_s[event] // HOUR_S % 24] + day[at_s[event] // _DAY_S - first_day]
                odds += age[_age_class(at_s[event] - dated_s[seen], len(age))]
                for at in range(of_user.shape[1]):
                    odds += of_user[user, at] * of_post[seen, at]
                log_odds[n_shown] = odds
                happened[n_shown] = 1.0 if responded_by[seen] == user else 0.0
                of_topic[n_shown] = topic[seen]
                n_shown += 1
            own, tastes = 0.0, taste_out[row]
            for _ in range(_SWEEPS):
                own = _step(log_odds, happened, n_shown, own, variances[0])
                _topic_steps(log_odds, happened, of_topic, n_shown, tastes, variances[1], gradient, curvature)
            user_out[row] = own


@njit(cache=True, nogil=True)
def _step(log_odds: Floats, happened: Floats, size: int, effect: float, variance: float) -> float:
    """Take a Newton step for one effect on all responses, and return it; `log_odds` follows."""
    gradient = curvature = 0.0
    for place in range(size):
        chance = 1 / (1 + np.exp(-log_odds[place]))
        gradient += happened[place] - chance
        curvature += chance * (1 - chance)
    new = (gradient + curvature * effect) / (curvature + 1 / variance) if variance > 0 else 0.0
    for place in range(size):
        log_odds[place] += new - effect
    return new


@njit(cache=True, nogil=True)
def _topic_steps(
    log_odds: Floats,
    happened: Floats,
    topic: Ints,
    size: int,
    effects: Floats,
    variance: float,
    gradient: Floats,
    curvature: Floats,
) -> None:
    """Take a Newton step for the effect of every topic, in place; gradient, curvature : room to work, (n_topics,)."""
    gradient[:] = 0
    curvature[:] = 0
    for place in range(size):
        chance = 1 / (1 + np.exp(-log_odds[place]))
        gradient[topic[place]] += happened[place] - chance
        curvature[topic[place]] += chance * (1 - chance)
    for at in range(len(effects)):
        old = effects[at]
        new = (gradient[at] + curvature[at] * old) / (curvature[at] + 1 / variance) if variance > 0 else 0.0
        effects[at] = new
        gradient[at] = new - old
    for place in range(size):
        log_odds[place] += gradient[topic[place]]
