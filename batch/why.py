"""Why a post is in a slate: its score as the run had it, and what the score is made of.

Computed again from the saved model and the events before the generation's as-of. What each feature gives is LightGBM's
own: `pred_contrib`, exact SHAP values of the trees (Lundberg et al., Nature Machine Intelligence 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine

from batch.candidates import retrievers
from batch.errors import BatchError
from batch.features.matrix import gather
from batch.features.registry import FEATURES
from batch.features.view import View
from batch.model import Model, load_model
from batch.model_checks import folder_of
from batch.pipeline import TRAINED, Report, config_digest, prepare_history, read_at, view_at
from batch.plain_trees import plain_trees
from batch.rank import Scorer, make_scorer
from batch.settings import BatchSettings
from batch.tables import Ints
from batch.text.fit import CACHE
from batch.train import as_booster
from slates.manifest import Manifest

MOST = 4
"""Features that are named for a post."""


@dataclass(frozen=True)
class Given:
    """What one feature adds to a score, and its value, None where it is missing."""

    feature: str
    what: str
    adds: float
    value: float | None


@dataclass(frozen=True)
class Reason:
    """Why a post stands where it does.

    score : the ranker's, the sum of of_pair (user and post), of_topic (user, topic and hour) and of_hour (post and
    hour). retriever : the one that ranks the post highest among the posts that exist, place from 1 on. largest : what
    moves the score most, largest first; empty for rankers without trees.
    """

    post_id: str
    score: float
    of_pair: float
    of_topic: float
    of_hour: float
    retriever: str
    place: int
    largest: Sequence[Given]


@dataclass(frozen=True)
class Reasons:
    """Of a slate: how many posts could have been in it, whether all of those were scored, and each post's reason.

    notes : what may make this differ from what the run saw.
    """

    posts: int
    all_scored: bool
    reasons: Sequence[Reason]
    notes: Sequence[str]


def explain(
    settings: BatchSettings,
    engine: Engine,
    manifest: Manifest,
    user_id: str,
    bucket: int,
    post_ids: Sequence[str],
    report: Report,
) -> Reasons:
    """Return the reasons of a user's posts in a bucket of a generation; a post outside the pool has none.

    Raises BatchError where the model is gone from the state folder, or the user or all posts are unknown by then.
    """
    model = None
    if manifest.ranker in TRAINED:
        model = load_model(folder_of(settings.state / "models", manifest.model_digest), settings.state / CACHE)
    tables = read_at(settings, engine, manifest.as_of, report)
    history = prepare_history(settings, tables, model, tables.as_of_s)
    view = view_at(settings, history, tables.as_of_s)
    user = np.flatnonzero(tables.users.ids.astype(str) == user_id)
    if not len(user):
        msg = f"user {user_id} was not known at {manifest.as_of:%Y-%m-%dT%H:%M:%SZ}, so no slate was made for them"
        raise BatchError(msg)
    index = {post_id: place for place, post_id in enumerate(tables.posts.ids[view.pool].astype(str).tolist())}
    known = [post_id for post_id in post_ids if post_id in index]
    scorer = make_scorer(manifest.ranker, model, view, [bucket])
    places = np.array([index[post_id] for post_id in known], dtype=np.int64)
    reasons = reasons_of(view, scorer, model, int(user[0]), bucket, places)
    notes = []
    if manifest.config_digest != config_digest(settings):
        notes.append("settings have changed since that run")
    if manifest.events != len(tables.events.at_s):
        notes.append(f"the run went by {manifest.events:,} events, now {len(tables.events.at_s):,} are known before it")
    all_scored = int(view.exists.sum()) == len(view.pool)
    return Reasons(len(view.pool), all_scored, reasons, notes)


def reasons_of(view: View, scorer: Scorer, model: Model | None, user: int, bucket: int, places: Ints) -> list[Reason]:
    """Return the reasons of posts by their places in the view's pool, as `scorer` scores them; user : its index."""
    if not len(places):
        return []
    users = np.array([user])
    pair, topic = scorer.pair_scores(users)[0], scorer.topic_scores(users)[0]
    largest: list[list[Given]] = [[] for _ in places]
    if model is not None and model.trees:
        largest = _contributions(view, model, user, bucket, places)
    ids = view.history.tables.posts.ids
    found = []
    for place, given in zip(places.tolist(), largest, strict=True):
        post = int(view.pool[place])
        a, b, c = pair[place], topic[view.history.topic[post], 0], scorer.hour_scores[place, 0]
        retriever, rank = _best_retriever(view, post)
        found.append(Reason(str(ids[post]), float(a + b + c), float(a), float(b), float(c), retriever, rank, given))
    return found


def _contributions(view: View, model: Model, user: int, bucket: int, places: Ints) -> list[list[Given]]:
    """Return what moves each post's score most, by LightGBM; a feature of two parts counts once."""
    columns = list(model.columns)
    n = len(places)
    matrix = gather(view, columns, np.full(n, user), places, np.full(n, bucket))
    booster = as_booster(plain_trees(model.trees, len(columns)))
    adds = np.asarray(booster.predict(matrix.astype(np.float64), pred_contrib=True))[:, :-1]
    names = list(dict.fromkeys(column.name for column in columns))
    by_name = {name: [at for at, column in enumerate(columns) if column.name == name] for name in names}
    base = np.zeros(n)
    if model.base:
        base = np.asarray(FEATURES[model.base].compute(view, np.array([user]))[0][places], dtype=np.float64)
        if model.base not in by_name:
            by_name[model.base] = []
    found = []
    for row in range(n):
        given = []
        for name, at in by_name.items():
            total = float(adds[row, at].sum()) + (float(base[row]) if name == model.base else 0.0)
            value = float(matrix[row, at[0]]) if at else float(base[row])
            given.append(Given(name, _what(name), total, None if np.isnan(value) else value))
        given = [one for one in given if one.adds]
        found.append(sorted(given, key=lambda one: -abs(one.adds))[:MOST])
    return found


def _what(name: str) -> str:
    return FEATURES[name].what if name in FEATURES else "from the table of users"


def _best_retriever(view: View, post: int) -> tuple[str, int]:
    """Return the retriever that ranks a post highest, and its place there; ties share the better place."""
    scored = view.once("retrievers", lambda: retrievers(view))
    ranks = {name: 1 + int((scores[view.exists] > scores[post]).sum()) for name, scores in scored.items()}
    best = min(ranks, key=lambda name: ranks[name])
    return best, ranks[best]
