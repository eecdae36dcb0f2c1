"""The replay: walk through the past, publish in memory at every refresh, and see what users went on to touch.

It runs the stages that a batch runs, and nothing else. At a refresh τ only what happened before τ is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.features.view import History
from batch.model import Model
from batch.pipeline import Report, acted_on_at, prepare_history, ranker_that_can, train_model, view_at
from batch.rank import make_scorer
from batch.settings import BatchSettings
from batch.slate import pick_slates
from batch.tables import HOUR_S, Ints, Tables


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
    existed at the last refresh. user : index. at_s : the first such touch. tau_s : the refresh before it. posts : for
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


def find_cases(history: History, window: Window, positive: Sequence[str]) -> ReplayCases:
    """Return the cases of a window."""
    tables = history.tables
    events = tables.events
    wanted = np.array([action in positive for action in tables.actions], dtype=bool)
    inside = (events.at_s >= window.begin_s) & (events.at_s < window.end_s)
    at = np.flatnonzero(inside & history.first & wanted[events.action])
    tau_s = window.begin_s + (events.at_s[at] - window.begin_s) // window.every_s * window.every_s
    at, tau_s = _existing(tables, at, tau_s)
    order = np.lexsort((events.at_s[at], events.at_s[at] // HOUR_S, events.user[at]))
    at, tau_s = at[order], tau_s[order]
    user, hour = events.user[at].astype(np.int64), events.at_s[at] // HOUR_S
    new = np.concatenate((np.ones(min(1, len(at)), dtype=bool), (np.diff(user) != 0) | (np.diff(hour) != 0)))
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], len(at))
    by_time = np.lexsort((user[begin], events.at_s[at][begin])) if len(begin) else begin
    born_s = tables.posts.born_s
    posts = [events.post[at[begin[c] : end[c]]].astype(np.int64) for c in by_time]
    posts = [p[born_s[p] < tau_s[begin[c]]] for p, c in zip(posts, by_time, strict=True)]
    first = begin[by_time]
    before = [
        int(np.searchsorted(events.at_s[_of(history, u)], t)) for u, t in zip(user[first], tau_s[first], strict=True)
    ]
    return ReplayCases(user[first], events.at_s[at][first], tau_s[first], posts, np.array(before, dtype=np.int64))


def _existing(tables: Tables, at: Ints, tau_s: Ints) -> tuple[Ints, Ints]:
    posts = tables.posts
    shown = (posts.born_s[tables.events.post[at]] < tau_s) & ~posts.hidden[tables.events.post[at]]
    return at[shown], tau_s[shown]


def _of(history: History, user: int) -> Ints:
    return history.by_user[history.start[user] : history.start[user + 1]]


@dataclass(frozen=True)
class ReplayResult:
    """What was shown. top : ranker → int32 (n_cases, k), indices of posts, -1 where there is no further one."""

    tables: Tables
    cases: ReplayCases
    top: dict[str, NDArray[np.int32]]
    models: list[Model]


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
) -> ReplayResult:
    """Replay a window for several rankers at once; `tables` may reach beyond it. `cold_only`: users without events."""
    history = prepare_history(tables, None, settings.seed, window.begin_s)
    cases = find_cases(history, window, positive)
    if cold_only:
        cases = only(cases, cases.n_before == 0)
    top = {ranker: np.full((len(cases), k), -1, dtype=np.int32) for ranker in rankers}
    models: list[Model] = []
    model, trained_s = None, -np.inf
    for done, tau_s in enumerate(refreshes := np.unique(cases.tau_s).tolist()):
        due_s = window.begin_s + (tau_s - window.begin_s) // window.retrain_s * window.retrain_s
        if due_s > trained_s:
            history, model = _retrained(settings, tables, rankers, due_s, window.every_s, report)
            models += [model] if model else []
            trained_s = due_s
        _publish_in_memory(settings, history, model, cases, tau_s, window.every_s, top)
        report.stage("replay", done + 1, len(refreshes))
    return ReplayResult(tables, cases, top, models)


def _retrained(
    settings: BatchSettings, tables: Tables, rankers: Sequence[str], as_of_s: int, every_s: int, report: Report
) -> tuple[History, Model | None]:
    history = prepare_history(tables, None, settings.seed, as_of_s)
    return history, train_model(settings, history, as_of_s, every_s, report) if "lightgbm" in rankers else None


def _publish_in_memory(
    settings: BatchSettings,
    history: History,
    model: Model | None,
    cases: ReplayCases,
    tau_s: int,
    every_s: int,
    top: dict[str, NDArray[np.int32]],
) -> None:
    at = np.flatnonzero(cases.tau_s == tau_s)
    users, user_at = np.unique(cases.user[at], return_inverse=True)
    first_bucket = tau_s // HOUR_S
    buckets = range(first_bucket, (tau_s + every_s - 1) // HOUR_S + 1)
    view = view_at(settings, history, tau_s)
    acted = acted_on_at(settings, view)
    for ranker, found in top.items():
        scorer = make_scorer(ranker_that_can(ranker, model), model, view, buckets)
        slates = pick_slates(scorer, view, acted, users, len(buckets), found.shape[1])
        found[at] = slates[user_at, cases.at_s[at] // HOUR_S - first_bucket]
