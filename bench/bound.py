"""What nobody can beat on the simulated network: the best guess from the log, told how likes come about.

Told are the segments, groups, profiles' effects, hours, growth, freshness, and how much users, tastes and posts vary;
what is guessed from the log is all that is drawn anew in every network. The guess is the mode of the posterior, which
orders as its mean does wherever it is about normal.
"""

import numpy as np
from scipy.optimize import minimize

from batch.features.view import View
from batch.tables import HOUR_S, Floats, Ints
from demo.likes import POST_SPREAD, TASTE_SPREAD, USER_SPREAD, profile_logit
from demo.sessions import Network

_NEARLY_FLAT = 10.0
_STEPS = 200
_FRESH_AT_H = 15
"""Hours after the end of the log at which posts are compared: the middle of the day that is judged."""


def best_guess(network: Network, view: View, users: Ints) -> Floats:
    """Return the log-odds that `users` (indices) like each post on the day after the log; (len(users), n_posts)."""
    oracle, history = network.oracle, view.history
    events = np.flatnonzero(history.first[: view.n_events])
    log = history.tables.events
    user, post = log.user[events].astype(np.int64), log.post[events].astype(np.int64)
    liked_pairs = np.unique(_pair(view, np.flatnonzero(history.strong[: view.n_events])))
    liked = np.isin(_pair(view, events), liked_pairs).astype(np.float64)
    n_topics, n_groups = oracle.user_taste.shape[1], oracle.cell_logit.shape[1]
    tables = (
        (user, view.n_users, USER_SPREAD),
        (user * n_topics + oracle.post_topic[post], oracle.user_taste.size, TASTE_SPREAD),
        (post, view.n_posts, POST_SPREAD),
        (oracle.user_segment[user] * n_groups + oracle.post_group[post], oracle.cell_logit.size, _NEARLY_FLAT),
    )
    told = _told(network, user, post, log.at_s[events] // HOUR_S)
    _, taste, own, cell = _mode(liked, told, tables)
    later = np.full(view.n_posts, view.tau_s // HOUR_S + _FRESH_AT_H)
    fresh = _freshness(network, np.arange(view.n_posts), later)
    of_group = cell.reshape(-1, n_groups)[oracle.user_segment[users]][:, oracle.post_group]
    return np.asarray(of_group + taste.reshape(-1, n_topics)[users][:, oracle.post_topic] + own + fresh)


def _pair(view: View, events: Ints) -> Ints:
    log = view.history.tables.events
    return log.user[events].astype(np.int64) * view.n_posts + log.post[events]


def _told(network: Network, user: Ints, post: Ints, bucket: Ints) -> Floats:
    oracle = network.oracle
    growth = np.interp(bucket * HOUR_S, oracle.growth_s, oracle.growth_logit)
    by_hour = oracle.hour_logit[bucket % 24] + growth
    return np.asarray(profile_logit(network.users)[user] + by_hour + _freshness(network, post, bucket))


def _freshness(network: Network, post: Ints, bucket: Ints) -> Floats:
    oracle = network.oracle
    age_d = np.maximum(bucket * HOUR_S - oracle.published_s[post], 0) / (24 * HOUR_S)
    return np.asarray(oracle.fresh_logit * np.exp2(-age_d / oracle.half_life_d))


def _mode(liked: Floats, told: Floats, tables: tuple[tuple[Ints, int, float], ...]) -> list[Floats]:
    """Return the most probable effects of each table (key of each view, number of cells, spread of the cells)."""
    cuts = np.cumsum([size for _, size, _ in tables])[:-1]
    precision = np.concatenate([np.full(size, spread**-2) for _, size, spread in tables])

    def loss(effects: Floats) -> tuple[float, Floats]:
        logit = told + sum(part[key] for part, (key, _, _) in zip(np.split(effects, cuts), tables, strict=True))
        surprise = 1 / (1 + np.exp(-logit)) - liked
        value = np.logaddexp(0, logit).sum() - logit @ liked + precision @ effects**2 / 2
        slope = np.concatenate([np.bincount(key, surprise, size) for key, size, _ in tables])
        return float(value), slope + precision * effects

    found = minimize(loss, np.zeros(len(precision)), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.split(found.x, cuts)
