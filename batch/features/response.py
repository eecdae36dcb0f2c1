"""The response model: the log-odds that a user responds to a post when it is shown, from all that was shown before τ.

A logistic mixed model: hour, day and age of the post, the user, the user's taste by topic, the post, and what the
user's profile and the post have to do with each other (profile_factors.py). It is fitted anew at every τ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from batch.features.bands import bands
from batch.features.effects import Effects, Responses
from batch.features.orders import USERS_AT_ONCE
from batch.features.profile_factors import ProfileFactors, Traits
from batch.features.registry import feature
from batch.features.user_effects import Moments, age_classes, user_effects
from batch.features.view import History, View
from batch.kernels import add_effects
from batch.passes import mark_followed
from batch.tables import HOUR_S, Floats, Ints

RESPONSE = "response"
_MOST_FITTED = 1_000_000
"""Pairs that hour, age, posts and profiles are fitted on; of a longer log those of some users, drawn at random."""
_WARM_UP_SWEEPS, _SWEEPS = 3, 12
_AGES = 16
_FEWEST = 100
_USUAL_VARIANCE = 0.1
"""Of users, and of their tastes, until the log tells: people differ."""


@dataclass(frozen=True)
class Shown:
    """What users were shown, each pair of user and post once, at its first time; arrays of shape (n,).

    user, post : int64, indices. at_s : int64, seconds since 1970. responded : float64, 1 where a response followed.
    """

    user: Ints
    post: Ints
    at_s: Ints
    responded: Floats


@dataclass(frozen=True)
class ResponseModel:
    """Log-odds at τ, as a sum; float64 arrays.

    moments, variances : what users are fitted with, one by one, when they are asked for: training asks for few of
    them. post : (n_posts,), what a post and its age at τ mean to all. of_user, of_post : (n_users, 1 + k) and
    (n_posts, 1 + k); beyond a first column, which stands for what the post means to all, for their scalar product.
    """

    n_events: int
    moments: Moments
    variances: tuple[float, float]
    post: Floats
    of_user: Floats
    of_post: Floats

    def log_odds(self, history: History, users: Ints, posts: Ints) -> NDArray[np.float32]:
        """Return the log-odds of `users` × `posts`; float32 (len(users), len(posts))."""
        profiles = self.of_user, self.of_post
        user, taste = user_effects(history, users, self.n_events, self.moments, profiles, self.variances)
        out = np.empty((len(users), len(posts)), dtype=np.float32)
        add_effects(
            taste,
            history.topic[posts],
            self.moments.average + user,
            self.post[posts],
            self.of_user[users, 1:],
            np.ascontiguousarray(self.of_post[posts, 1:].T),
            out,
        )
        return out


@feature(
    RESPONSE,
    "user×post",
    "A",
    "log-odds that the user responds to the post when shown, by a mixed model of what was shown before",
    needs_shown=True,
)
def response(view: View, users: Ints) -> NDArray[np.float32]:
    """Score the pool; zeros where too little was shown to learn from."""
    model = view.once(RESPONSE, lambda: fit_response(view))
    if model is None:
        return np.zeros((len(users), len(view.pool)), dtype=np.float32)
    return view.for_users(RESPONSE, users, lambda: model.log_odds(view.history, users, view.pool))


def fit_response(view: View) -> ResponseModel | None:
    """Fit the model to what was shown before τ; None where that is too little, or all or nothing was responded to."""
    shown = _shown(view, _sampled_users(view))
    n_responses = shown.responded.sum()
    if len(shown.user) < _FEWEST or not 0 < n_responses < len(shown.user):
        return None
    with threadpool_limits(1, "blas"):  # sums of another number of threads round otherwise
        fit = _Fit(view, shown)
        fit.run()
        return _model(view, fit)


def _sampled_users(view: View) -> Ints:
    """Return all users, or as many as have _MOST_FITTED events before τ."""
    if view.n_events <= _MOST_FITTED:
        return np.arange(view.n_users)
    return np.flatnonzero(np.random.default_rng(0).random(view.n_users) < _MOST_FITTED / view.n_events)


def _shown(view: View, users: Ints) -> Shown:
    """Return the pairs of `users` before τ, in the order of time."""
    history, log = view.history, view.history.tables.events
    of_users = history.by_user, history.start
    responded = mark_followed(users, *of_users, log.post, history.strong, view.n_posts, view.n_events, USERS_AT_ONCE)
    none = np.zeros(0, dtype=history.by_user.dtype)
    events = np.concatenate([none, *(history.by_user[history.start[user] : view.end[user]] for user in users)])
    events = np.sort(events[history.first[events]])
    return Shown(
        user=log.user[events].astype(np.int64),
        post=log.post[events].astype(np.int64),
        at_s=log.at_s[events],
        responded=responded[events].astype(np.float64),
    )


class _Fit:
    def __init__(self, view: View, shown: Shown) -> None:
        self.view, self.shown = view, shown
        history = view.history
        self.n_topics = history.n_topics
        self.average = float(np.log(shown.responded.mean() / (1 - shown.responded.mean())))
        self.responses = Responses(shown.responded, np.full(len(shown.user), self.average))
        self.first_day = int(history.tables.events.at_s[0]) // (24 * HOUR_S)
        days = view.tau_s // (24 * HOUR_S) - self.first_day + 1
        keys = zip(self.moment_keys(shown), (24, days, _AGES), strict=True)
        self.moment = [Effects(key, np.zeros(size)) for key, size in keys]
        self.user = Effects(shown.user, np.zeros(view.n_users), usual_variance=_USUAL_VARIANCE)
        taste = shown.user * self.n_topics + history.topic[shown.post]
        self.taste = Effects(taste, np.zeros(view.n_users * self.n_topics), usual_variance=_USUAL_VARIANCE)
        self.factors = ProfileFactors(
            user=shown.user,
            post=shown.post,
            bands=bands(history),
            traits=_traits(view),
            of_user=np.ones((view.n_users, 1)),
            of_post=np.zeros((view.n_posts, 1)),
        )

    def run(self) -> None:
        for _ in range(_WARM_UP_SWEEPS):
            self._sweep()
        self.factors.begin(self.responses)
        for _ in range(_SWEEPS):
            self._sweep()
            self.factors.update_bands(self.responses)

    def _sweep(self) -> None:
        for effects in (*self.moment, self.user, self.taste):
            effects.update(self.responses)
        self.factors.update_posts(self.responses)

    def moment_keys(self, shown: Shown) -> tuple[Ints, Ints, Ints]:
        """Return hour of day, day of the log, and age of the post as a class, of each pair."""
        age = age_classes(shown.at_s - self.view.dated_s[shown.post], _AGES)
        return shown.at_s // HOUR_S % 24, shown.at_s // (24 * HOUR_S) - self.first_day, age


def _model(view: View, fit: _Fit) -> ResponseModel:
    """Keep what was fitted, and what users are fitted with."""
    hour, day, of_age = (effects.cell for effects in fit.moment)
    age = of_age[age_classes(view.tau_s - view.dated_s, _AGES)]
    return ResponseModel(
        n_events=view.n_events,
        moments=Moments(fit.average, hour, day, fit.first_day, of_age, view.dated_s),
        variances=(fit.user.variance, fit.taste.variance),
        post=fit.factors.of_post[:, 0] + age,
        of_user=np.ascontiguousarray(fit.factors.of_user),
        of_post=np.ascontiguousarray(fit.factors.of_post),
    )


def _traits(view: View) -> Traits:
    history = view.history
    blocks = [np.ones((view.n_posts, 1)), np.eye(history.n_topics)[history.topic]]
    if history.text is not None:
        blocks.append(history.text - history.text[view.exists].mean(axis=0))
    block = np.repeat(np.arange(len(blocks)), [part.shape[1] for part in blocks])
    # The zeros of posts that τ does not know keep them out of every sum.
    return Traits(np.where(view.exists[:, None], np.hstack(blocks), 0.0), block)
