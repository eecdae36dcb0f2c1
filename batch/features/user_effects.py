"""What each user adds to the log-odds of the response model, and each user's taste by topic, the rest being given.

Users do not touch each other once hours, ages, posts and profiles are known, so they are fitted one by one, by Newton's
method over what the user was shown. A user's effect and tastes are found together: each taste meets no other one, so
what tells of them all is solved in one pass over the topics.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from batch.features.view import History
from batch.passes import Places
from batch.tables import HOUR_S, Floats, Ints

_MOST_STEPS = 12
_LARGEST_STEP = 2.0
"""Log-odds: further away, what a step is derived from does not hold."""
_CLOSE = 1e-3
"""The last step, in log-odds; what is left is about its square."""
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
        history.orders.first_by_user,
        history.strong_by_user,
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
        room = np.empty((2, n_topics))
        responded_by = np.full(len(of_post), -1, dtype=np.int64)
        for row in range(chunk * _USERS_AT_ONCE, min((chunk + 1) * _USERS_AT_ONCE, len(users))):
            user = users[row]
            begin = start[user]
            most = start[user + 1] - begin
            posts, times = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int64)
            size = 0
            for place in range(most):  # nothing but looking up: so the processor waits for many events at once
                event = by_user[begin + place]
                size += event < n_events  # ascending
                posts[place], times[place] = post[event], at_s[event]
            for place in range(size):
                if strong[begin + place]:
                    responded_by[posts[place]] = user
            log_odds, happened = np.empty(size), np.empty(size)
            of_topic = np.empty(size, dtype=np.int64)
            n_shown = 0
            for place in range(size):
                if not first[begin + place]:
                    continue
                seen, time = posts[place], times[place]
                odds = average + hour[time // HOUR_S % 24] + day[time // _DAY_S - first_day]
                odds += age[_age_class(time - dated_s[seen], len(age))]
                for at in range(of_user.shape[1]):
                    odds += of_user[user, at] * of_post[seen, at]
                log_odds[n_shown] = odds
                happened[n_shown] = 1.0 if responded_by[seen] == user else 0.0
                of_topic[n_shown] = topic[seen]
                n_shown += 1
            shown = log_odds[:n_shown], happened[:n_shown], of_topic[:n_shown]
            user_out[row] = _fit(*shown, variances, taste_out[row], room)


@njit(cache=True, nogil=True)
def _fit(
    log_odds: Floats,
    happened: Floats,
    topic: Ints,
    variances: tuple[float, float],
    tastes: Floats,
    room: Floats,
) -> float:
    """Fit a user to what was shown: return the user's effect, and write the tastes.

    log_odds, happened, topic : (n_shown,); log_odds follows. room : to work in, (2, n_topics).
    """
    own, step = 0.0, np.zeros(len(tastes))
    gradient, curvature = room
    for _ in range(_MOST_STEPS):
        room[:] = 0
        for place in range(len(log_odds)):
            chance = 1 / (1 + np.exp(-log_odds[place]))
            gradient[topic[place]] += happened[place] - chance
            curvature[topic[place]] += chance * (1 - chance)
        of_own = _step(gradient, curvature, own, tastes, variances, step)
        own += of_own
        largest = 0.0
        for at in range(len(tastes)):
            tastes[at] += step[at]
            step[at] += of_own
            largest = max(largest, abs(step[at]))
        for place in range(len(log_odds)):
            log_odds[place] += step[topic[place]]
        if largest < _CLOSE:
            break
    return own


@njit(cache=True, nogil=True)
def _step(
    gradient: Floats, curvature: Floats, own: float, tastes: Floats, variances: tuple[float, float], step: Floats
) -> float:
    """Return Newton's step of the user's effect, and write those of the tastes to `step`, both bounded.

    gradient, curvature : of the likelihood, by topic. The tastes' equations are put into that of the user's effect.
    """
    of_user, of_taste = variances
    slope = np.sum(gradient) - (own / of_user if of_user > 0 else 0.0)
    bend = np.sum(curvature) + (1 / of_user if of_user > 0 else 0.0)
    if of_taste > 0:
        for at in range(len(tastes)):
            slope -= curvature[at] * (gradient[at] - tastes[at] / of_taste) / (curvature[at] + 1 / of_taste)
            bend -= curvature[at] ** 2 / (curvature[at] + 1 / of_taste)
    of_own = min(max(slope / bend, -_LARGEST_STEP), _LARGEST_STEP) if of_user > 0 else 0.0
    for at in range(len(tastes)):
        whole = 0.0
        if of_taste > 0:
            whole = (gradient[at] - tastes[at] / of_taste - curvature[at] * of_own) / (curvature[at] + 1 / of_taste)
        step[at] = min(max(whole, -_LARGEST_STEP), _LARGEST_STEP)
    return of_own
