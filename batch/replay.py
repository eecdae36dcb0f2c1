"""The replay: walk through the past, publish in memory at every refresh, and see what users went on to touch.

It runs the stages that a batch runs, and nothing else. At a refresh τ only what happened before τ is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batch.features.orders import USERS_AT_ONCE
from batch.features.view import History
from batch.model import Model
from batch.offered import best_offered, offered_posts
from batch.passes import Places, first_wanted
from batch.pipeline import Report, acted_on_at, prepare_history, ranker_that_can, train_model, view_at
from batch.rank import make_scorer
from batch.replay_pool import run_side_by_side
from batch.replay_scores import Remembering
from batch.rules import rules_of
from batch.settings import BatchSettings
from batch.slate import pick_slates
from batch.tables import HOUR_S, Floats, Ints, Tables

LAG_BLIND = "lightgbm_lag_blind"
"""The trained ranker, but trained as if every case came in the hour of its run: what knowing the lag is worth."""
TRAINED = ("lightgbm", "neural", LAG_BLIND)


@dataclass(frozen=True)
class Window:
    """What is replayed, in seconds since 1970: refreshes from `begin_s` on, a new model every `retrain_s`."""

    begin_s: int
    end_s: int
    every_s: int
    retrain_s: int


@dataclass(frozen=True)
class ReplayCases:
    """Cases, ascending by time; arrays of shape (n_cases,).

    A case is a user and an hour in which the user touched, for the first time and with a positive action, posts that
    existed at the last refresh; where the log holds what was shown, posts that the user had not been shown by then.
    user : index. at_s : the first such touch. tau_s : the refresh before it. posts : for
    each case the indices of those posts. n_before : events of the user before the refresh.
    """

    user: Ints
    at_s: Ints
    tau_s: Ints
    posts: list[Ints]
    n_before: Ints

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.user)


def only(cases: ReplayCases, kept: NDArray[np.bool_]) -> ReplayCases:
    """Return the cases that are kept."""
    posts = [posts for posts, keep in zip(cases.posts, kept.tolist(), strict=True) if keep]
    return ReplayCases(cases.user[kept], cases.at_s[kept], cases.tau_s[kept], posts, cases.n_before[kept])


def default_positive(tables: Tables, actions: Sequence[str]) -> list[str]:
    """Return those of `actions` that say more than that a post was shown."""
    relevance = dict(zip(tables.actions, tables.relevance.tolist(), strict=True))
    return [action for action in actions if relevance.get(action, 0) > 0]


def find_cases(history: History, window: Window, positive: Sequence[str]) -> ReplayCases:
    """Return the cases of a window."""
    at, tau_s, there = _touches(history, window, positive)
    return _grouped(history, at[there], tau_s[there])


def find_late_cases(history: History, window: Window, positive: Sequence[str]) -> ReplayCases:
    """Return users and hours with first touches only of posts that were not there at the last refresh; `posts` empty.

    No slate could hold them, whatever the ranker. Together with the cases they are the same for every interval.
    """
    at, tau_s, there = _touches(history, window, positive)
    cases, reachable = _grouped(history, at, tau_s), _grouped(history, at[there], tau_s[there])
    late = only(cases, ~np.isin(_user_hour(cases), _user_hour(reachable)))
    return replace(late, posts=[np.zeros(0, dtype=np.int64)] * len(late))


def _user_hour(cases: ReplayCases) -> Ints:
    return cases.user * 2**31 + cases.at_s // HOUR_S


def _touches(history: History, window: Window, positive: Sequence[str]) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return the events that count, the refresh before each, and whether the post was there at that refresh."""
    tables, posts = history.tables, history.tables.posts
    events = tables.events
    wanted = np.array([action in positive for action in tables.actions], dtype=bool)
    inside = (events.at_s >= window.begin_s) & (events.at_s < window.end_s)
    countable = inside & wanted[events.action] & ~posts.hidden[events.post]
    at = np.flatnonzero(countable if history.shown_known else countable & history.first)
    tau_s = window.begin_s + (events.at_s[at] - window.begin_s) // window.every_s * window.every_s
    if history.shown_known:
        new = _new_since(history, at, tau_s)
        at, tau_s = at[new], tau_s[new]
    return at, tau_s, posts.born_s[events.post[at]] < tau_s


def _new_since(history: History, at: Ints, tau_s: Ints) -> NDArray[np.bool_]:
    """Say which events `at` are the first of their kinds on posts that the user had not been shown at `tau_s`.

    A response comes after the post was shown, so it is never the first event on it.
    """
    events, n_posts = history.tables.events, len(history.tables.posts.ids)
    users = np.unique(events.user[at]).astype(np.int64)
    of_users = users, history.by_user, history.start
    return first_wanted(*of_users, events.post, events.at_s, at, tau_s, n_posts, USERS_AT_ONCE)


def _grouped(history: History, at: Ints, tau_s: Ints) -> ReplayCases:
    events, born_s = history.tables.events, history.tables.posts.born_s
    order = np.lexsort((events.at_s[at], events.at_s[at] // HOUR_S, events.user[at]))
    at, tau_s = at[order], tau_s[order]
    user, hour = events.user[at].astype(np.int64), events.at_s[at] // HOUR_S
    new = np.concatenate((np.ones(min(1, len(at)), dtype=bool), (np.diff(user) != 0) | (np.diff(hour) != 0)))
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], len(at))
    by_time = np.lexsort((user[begin], events.at_s[at][begin])) if len(begin) else begin
    posts = [events.post[at[begin[c] : end[c]]].astype(np.int64) for c in by_time]
    posts = [p[born_s[p] < tau_s[begin[c]]] for p, c in zip(posts, by_time, strict=True)]
    first = begin[by_time]
    before = [
        int(np.searchsorted(events.at_s[_of(history, u)], t)) for u, t in zip(user[first], tau_s[first], strict=True)
    ]
    return ReplayCases(user[first], events.at_s[at][first], tau_s[first], posts, np.array(before, dtype=np.int64))


def _of(history: History, user: int) -> Places:
    return history.by_user[history.start[user] : history.start[user + 1]]


@dataclass(frozen=True)
class ReplayResult:
    """What was shown.

    top : ranker → int32 (n_cases, k), indices of posts, -1 where there is no further one. scores : of those posts, by
    trained ranker, float64 (n_cases, k), NaN where there is none. models : by trained ranker, oldest first. late : what
    find_late_cases says.
    """

    tables: Tables
    cases: ReplayCases
    late: ReplayCases
    top: dict[str, NDArray[np.int32]]
    scores: dict[str, Floats]
    models: dict[str, list[Model]]


def replay(
    settings: BatchSettings,
    tables: Tables,
    window: Window,
    rankers: Sequence[str],
    positive: Sequence[str],
    k: int,
    report: Report,
    *,
    cold_only: bool = False,
    workers: int = 1,
) -> ReplayResult:
    """Replay a window for several rankers at once; `tables` may reach beyond it. `cold_only`: users without events.

    The time for which one model is used is a period. Periods know nothing of each other, so `workers` processes can
    replay them side by side; the result is the same for any number.
    """
    history = prepare_history(settings, tables, None, window.begin_s)
    cases, late = find_cases(history, window, positive), find_late_cases(history, window, positive)
    if cold_only:
        cases, late = only(cases, cases.n_before == 0), only(late, late.n_before == 0)
    result = ReplayResult(
        tables,
        cases,
        late,
        {ranker: np.full((len(cases), k), -1, dtype=np.int32) for ranker in rankers},
        {ranker: np.full((len(cases), k), np.nan) for ranker in rankers if ranker in TRAINED},
        {ranker: [] for ranker in rankers if ranker in TRAINED},
    )
    begin_s = window.begin_s + (cases.tau_s - window.begin_s) // window.retrain_s * window.retrain_s
    periods = [
        Period(settings, int(due_s), window.every_s, tuple(rankers), k, only(cases, begin_s == due_s))
        for due_s in np.unique(begin_s)
    ]
    for period, shown in run_side_by_side(prepare_and_replay, tables, periods, workers, report):
        at = begin_s == period.as_of_s
        for ranker in rankers:
            result.top[ranker][at] = shown.top[ranker]
        for ranker, model in shown.models.items():
            result.scores[ranker][at] = shown.scores[ranker]
            result.models[ranker] += [model] if model else []
    return result


@dataclass(frozen=True)
class Period:
    """What is replayed with one model, that of `as_of_s`: its cases, and for whom they are asked."""

    settings: BatchSettings
    as_of_s: int
    every_s: int
    rankers: tuple[str, ...]
    k: int
    cases: ReplayCases


@dataclass(frozen=True)
class Shown:
    """What was shown in a period: as in ReplayResult, for the cases of the period."""

    top: dict[str, NDArray[np.int32]]
    scores: dict[str, Floats]
    models: dict[str, Model | None]


def prepare_and_replay(tables: Tables, period: Period, report: Report) -> Shown:
    """Replay a period of tables, whose history is prepared as of its begin."""
    return replay_period(prepare_history(period.settings, tables, None, period.as_of_s), period, report)


def replay_period(history: History, period: Period, report: Report) -> Shown:
    """Train once, and publish in memory at every refresh of the period after which there is a case."""
    settings, n_cases = period.settings, len(period.cases)
    trained = [ranker for ranker in period.rankers if ranker in TRAINED]
    models = {ranker: _train(ranker, settings, history, period, report) for ranker in trained}
    shown = Shown(
        {ranker: np.full((n_cases, period.k), -1, dtype=np.int32) for ranker in period.rankers},
        {ranker: np.full((n_cases, period.k), np.nan) for ranker in trained},
        models,
    )
    for done, tau_s in enumerate(refreshes := np.unique(period.cases.tau_s).tolist()):
        _publish_in_memory(period, history, tau_s, shown)
        report.stage("replay", done + 1, len(refreshes))
    return shown


def _train(ranker: str, settings: BatchSettings, history: History, period: Period, report: Report) -> Model | None:
    if ranker == LAG_BLIND:
        without = (*settings.without_features, "lag_h")
        settings = settings.model_copy(update={"hours": 1, "without_features": without})
    settings = settings.model_copy(update={"ranker": "neural" if ranker == "neural" else "lightgbm"})
    return train_model(settings, history, period.as_of_s, period.every_s, report)


def _publish_in_memory(period: Period, history: History, tau_s: int, shown: Shown) -> None:
    cases = period.cases
    at = np.flatnonzero(cases.tau_s == tau_s)
    users, user_at = np.unique(cases.user[at], return_inverse=True)
    first_bucket = tau_s // HOUR_S
    buckets = range(first_bucket, (tau_s + period.every_s - 1) // HOUR_S + 1)
    bucket_at = cases.at_s[at] // HOUR_S - first_bucket
    view = view_at(period.settings, history, tau_s)
    rules = rules_of(period.settings)
    if history.shown_known:  # a ranker orders what was shown, so nothing need be left out
        offered = offered_posts(history, view, users, buckets)
    else:
        acted = acted_on_at(period.settings, view)
    for ranker in period.rankers:
        model = shown.models.get(ranker)
        usable = ranker_that_can("lightgbm" if ranker == LAG_BLIND else ranker, model)
        scorer = Remembering(make_scorer(usable, model, view, buckets))
        if history.shown_known:
            slates = best_offered(scorer, view, users, offered, period.k)
        else:
            slates = pick_slates(scorer, view, acted, users, period.k, rules)
        shown.top[ranker][at] = slates[user_at, bucket_at]
        if model is not None:
            shown.scores[ranker][at] = scorer.scores_of(slates, view)[user_at, bucket_at]
