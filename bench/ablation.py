"""What the ranker loses without some of its features: the same cases and the same moments for all variants.

Most of a training's time goes into the features of past moments, so cases are drawn once with all columns, and each
variant's trees are grown from the columns that are left to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
from numpy.typing import NDArray

from batch.cases import Cases, Sampling, draw_cases
from batch.features.matrix import Column, model_columns
from batch.features.view import History, View
from batch.model import Model
from batch.pipeline import Report, acted_on_at, prepare_history, view_at
from batch.rank import make_scorer
from batch.replay import Period, ReplayCases, only
from batch.replay_pool import cores, run_side_by_side
from batch.rules import rules_of
from batch.settings import BatchSettings
from batch.slate import pick_slates
from batch.tables import HOUR_S, Tables
from batch.train import Training, train_trees
from bench.notes import Silent
from bench.quality_run import RETRAIN_S

Variants = Mapping[str, Sequence[str]]
"""Name → patterns of the features that it goes without."""


def replay_variants(
    settings: BatchSettings, tables: Tables, cases: ReplayCases, begin_s: int, variants: Variants, k: int
) -> dict[str, NDArray[np.int32]]:
    """Return what the trained ranker shows with a refresh an hour, by variant: int32 (n_cases, k), -1 for none."""
    due_s = begin_s + (cases.tau_s - begin_s) // RETRAIN_S * RETRAIN_S
    periods = [
        Period(settings, int(at_s), HOUR_S, tuple(variants), k, only(cases, due_s == at_s)) for at_s in np.unique(due_s)
    ]
    top = {name: np.full((len(cases), k), -1, dtype=np.int32) for name in variants}
    for period, shown in run_side_by_side(partial(_replay_period, dict(variants)), tables, periods, cores(), Silent()):
        for name, posts in shown.items():
            top[name][due_s == period.as_of_s] = posts
    return top


def _replay_period(variants: Variants, tables: Tables, period: Period, report: Report) -> dict[str, NDArray[np.int32]]:
    settings, cases = period.settings, period.cases
    history = prepare_history(settings, tables, None, period.as_of_s)
    models = dict(_models(variants, settings, history, period.as_of_s, report))
    top = {name: np.full((len(cases), period.k), -1, dtype=np.int32) for name in models}
    for tau_s in np.unique(cases.tau_s).tolist():
        at = np.flatnonzero(cases.tau_s == tau_s)
        users, user_at = np.unique(cases.user[at], return_inverse=True)
        view = view_at(settings, history, tau_s)
        acted, bucket = acted_on_at(settings, view), tau_s // HOUR_S
        for name, model in models.items():
            scorer = make_scorer("lightgbm", model, view, range(bucket, bucket + 1))
            slates = pick_slates(scorer, view, acted, users, period.k, rules_of(settings))
            top[name][at] = slates[user_at, 0]
    return top


def _models(
    variants: Variants, settings: BatchSettings, history: History, as_of_s: int, report: Report
) -> Iterator[tuple[str, Model]]:
    columns = model_columns(View(history, as_of_s), settings.without_features)
    sampling = Sampling(
        days=settings.train_days,
        groups=settings.train_groups,
        negatives=settings.train_negatives,
        hours=settings.hours,
        refresh_h=1,
        seed=settings.seed,
    )
    cases = draw_cases(
        history,
        columns,
        as_of_s,
        sampling,
        lambda view: view_at(settings, history, view.tau_s).pool,
        lambda done, total: report.stage("cases of past moments", done, total),
    )
    training = Training(settings.trees, settings.leaves, settings.learning_rate, settings.seed)
    for name, patterns in variants.items():
        fewer, left = _without(columns, cases, patterns)
        trees, _ = train_trees(left, fewer, training, lambda done, total: report.stage("train", done, total))
        learned = history.vocabularies, history.encoder, as_of_s, len(cases.group), len(cases.grade)
        yield name, Model(trees, tuple(fewer), *learned, None, history.clusters)


def _without(columns: list[Column], cases: Cases, patterns: Sequence[str]) -> tuple[list[Column], Cases]:
    """Return the columns that are left, and the cases with them alone."""
    kept = [at for at, column in enumerate(columns) if not any(fnmatchcase(column.name, p) for p in patterns)]
    return [columns[at] for at in kept], replace(cases, matrix=np.ascontiguousarray(cases.matrix[:, kept]))
