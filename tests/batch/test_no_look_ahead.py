"""Nothing that is as of τ sees what comes at τ or later: bit for bit the same, whatever that is.

Everything later is taken away, made into something else, or more is put beside it: events, and posts that appear later
with their texts, topics and authors. What has no date (profiles of users, the column `hidden`) is no part of this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from small_world import ACTIONS, make_tables, random_events

from batch.features.matrix import gather, model_columns
from batch.features.registry import FEATURES, Feature, register
from batch.features.view import View
from batch.pipeline import acted_on_at, prepare_history, read_at, train_model, view_at
from batch.rank import make_scorer
from batch.replay import TRAINED
from batch.rules import Rules
from batch.settings import BatchSettings, Ranker
from batch.slate import pick_slates, popular_slate, segment_slates
from batch.tables import HOUR_S, Events, Floats, Tables
from source.engine import open_engine
from source.load import load_folder

N_USERS, N_POSTS, TAU_H, END_H = 40, 60, 300, 360
VARIANTS = ("taken away", "made into something else", "more of it")


class _Silent:
    def stage(self, name: str, done: int, total: int | None) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def all_as_of(settings: BatchSettings, tables: Tables, tau_s: int) -> dict[str, bytes]:
    """Return all that a batch at τ makes, by name: every column of the matrix, the model, each ranker's slates."""
    history = prepare_history(settings, tables, None, tau_s)
    view = view_at(settings, history, tau_s)
    buckets = range(tau_s // HOUR_S, tau_s // HOUR_S + settings.hours)
    known = np.unique(tables.events.user[: view.n_events]).astype(np.int64)
    users = known[:: max(1, len(known) // 40)]
    found = {"pool": view.pool.tobytes(), "users": users.tobytes()}

    columns = model_columns(view)
    user, place, bucket = (
        part.ravel() for part in np.meshgrid(users, np.arange(len(view.pool)), [buckets[0], buckets[-1]])
    )
    matrix = gather(view, columns, user, place, bucket)
    found |= {f"{column.part}.{column.name}": matrix[:, at].tobytes() for at, column in enumerate(columns)}

    model = train_model(settings, history, tau_s, HOUR_S, _Silent())
    assert model is not None
    found["model"] = b"".join(content for _, content in sorted(model.files().items()))
    acted = acted_on_at(settings, view)
    for ranker in {*get_args(Ranker)} - {*TRAINED} | {"lightgbm"}:
        scorer = make_scorer(ranker, model, view, buckets)
        found[f"slates of {ranker}"] = pick_slates(scorer, view, acted, users, 10).tobytes()
    rules = Rules(max_per_topic=3, max_per_author=2, diversity=0.3, explore_places=1)
    scorer = make_scorer("lightgbm", model, view, buckets)
    found["slates under rules"] = pick_slates(scorer, view, acted, users, 10, rules).tobytes()
    found["popular slate"] = popular_slate(view, 10).tobytes()
    found["segment slates"] = np.concatenate(segment_slates(view, 10)).tobytes()
    return found


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name, content in one.items() if content != other[name]]


def small_world(variant: str | None = None) -> Tables:
    """Return a log of posts with all their facts, a third of which appear at τ or later."""
    events = random_events(3000, N_USERS, N_POSTS, last_h=END_H, seed=1)
    born_h = np.linspace(0, END_H * 1.2, N_POSTS).round(1)
    events = [event for event in events if event[0] >= born_h[event[2]]]
    if variant:
        events = _varied(events, variant)
    is_later = born_h >= TAU_H
    words = [f"word{post % 7} word{post % 5} word{post % 3}" for post in range(N_POSTS)]
    topics, authors = [f"topic{post % 4}" for post in range(N_POSTS)], [str(10 + post % 9) for post in range(N_POSTS)]
    for post in np.flatnonzero(is_later) if variant else []:
        words[post], topics[post], authors[post] = f"other word1 new{post}", "topic9", "47"
    born = [np.inf if variant and late else at for at, late in zip(born_h, is_later, strict=True)]
    random = np.random.default_rng(2)
    return make_tables(
        events,
        n_users=N_USERS,
        n_posts=N_POSTS,
        as_of_h=END_H,
        born_h=born,
        topic=topics,
        text=words,
        author=authors,
        profile={"age": random.integers(15, 70, N_USERS).astype(np.float64)},
    )


def _varied(events: list[tuple[float, int, int, str]], variant: str) -> list[tuple[float, int, int, str]]:
    before = [event for event in events if event[0] * HOUR_S // 1 < TAU_H * HOUR_S]
    later = [event for event in events if event[0] * HOUR_S // 1 >= TAU_H * HOUR_S]
    assert len(later) > 200
    if variant == "taken away":
        return before
    other = [
        (TAU_H + (at - TAU_H) / 2, N_USERS - 1 - user, (post * 7 + 3) % N_POSTS, "view" if action == "like" else "like")
        for at, user, post, action in later
    ]
    at_tau = (float(TAU_H), 0, 1, "like")  # at τ itself is not before τ
    return [*before, *other, at_tau] if variant == "made into something else" else [*events, *other, at_tau]


SETTINGS = BatchSettings(hours=6, trees=20, train_groups=600, train_negatives=10, text_clusters=5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_whatever_comes_later_all_as_of_tau_stays_the_same(variant: str) -> None:
    tau_s = TAU_H * HOUR_S
    as_it_was = all_as_of(SETTINGS, small_world(), tau_s)
    assert differing(as_it_was, all_as_of(SETTINGS, small_world(variant), tau_s)) == []
    assert len(as_it_was) > 40


@contextmanager
def _declared(entry: Feature) -> Iterator[None]:
    register(entry)
    try:
        yield
    finally:
        del FEATURES[entry.name]


def _touches_ever(view: View) -> Floats:
    return np.bincount(view.history.tables.events.post, minlength=view.n_posts).astype(np.float64)


def test_a_feature_that_looks_ahead_would_be_caught() -> None:
    tau_s = TAU_H * HOUR_S
    with _declared(Feature("peeks", "post", "C", "events of the post, later ones too", _touches_ever)):
        found = [all_as_of(SETTINGS, small_world(variant), tau_s) for variant in (None, "taken away")]
    assert {"C.peeks", "model", "slates of lightgbm"} <= set(differing(*found))
    assert "A.topic" not in differing(*found)


def test_one_event_before_tau_more_would_be_seen() -> None:
    tau_s, tables = TAU_H * HOUR_S, small_world()
    at = int(np.searchsorted(tables.events.at_s, tau_s)) - 1
    earlier = np.arange(len(tables.events.at_s)) != at
    events = tables.events
    without = Events(*(part[earlier] for part in (events.at_s, events.user, events.post, events.action)))
    found = [all_as_of(SETTINGS, each, tau_s) for each in (tables, replace(tables, events=without))]
    assert "A.user_events" in differing(*found)


TAU = datetime(2016, 7, 4, 13, tzinfo=UTC)
END = datetime(2016, 8, 1, tzinfo=UTC)


def deskdrop(folder: Path, state: Path, variant: str | None) -> Tables:
    """Return the real log up to a month after τ, with what lies between τ and then varied."""
    varied = state / "files"
    varied.mkdir(parents=True)
    events, posts, users = (pd.read_csv(folder / f"{name}.csv.gz") for name in ("events", "posts", "users"))
    tau, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (TAU, END))
    events = events[events["timestamp"] < end]
    events, later = events[events["timestamp"] < tau], events[events["timestamp"] >= tau]
    assert len(later) > 5_000
    random = np.random.default_rng(0)
    other = later.assign(
        user_id=random.permutation(later["user_id"]),
        post_id=random.permutation(later["post_id"]),
        action=random.choice(list(ACTIONS), len(later)),
    )
    kept = {None: [later], "taken away": [], "made into something else": [other], "more of it": [later, other]}
    pd.concat([events, *kept[variant]]).to_csv(varied / "events.csv", index=False)
    if variant:
        posts.loc[posts["published_at"] >= tau, "text"] = "something else that nobody wrote"
    posts.to_csv(varied / "posts.csv", index=False)
    users.to_csv(varied / "users.csv", index=False)
    settings, engine = BatchSettings(state=state), open_engine(None, state)
    try:
        load_folder(varied, engine, settings.source, settings.actions, state / "quarantine")
        return read_at(settings, engine, END, _Silent())
    finally:
        engine.dispose()


@pytest.mark.data
def test_on_a_real_log_too(data_dir: Path, tmp_path: Path) -> None:
    settings = BatchSettings(hours=6, trees=10, train_groups=800, train_days=4)
    found = [
        all_as_of(settings, deskdrop(data_dir / "deskdrop", tmp_path / f"{place}", variant), int(TAU.timestamp()))
        for place, variant in enumerate((None, *VARIANTS))
    ]
    for variant, other in zip(VARIANTS, found[1:], strict=True):
        assert differing(found[0], other) == [], variant
