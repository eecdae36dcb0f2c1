"""What the slate rules cost in hits, and what they bring: a replay of one log, each rule on by itself.

    python -m bench.rules --data FOLDER [--log deskdrop] [--from TIME] [--to TIME] [--every-h 1]
    python -m bench.rules --log simulated --from 2021-12-27 --to 2021-12-30

The trained ranker scores every refresh once; each rule then orders the same scores. Columns: `hitrate@5` with its
paired difference to no rules (95 %, by user), `coverage` (share of the posts there were that anybody was shown),
`popular_share` (share of all places that the ten posts shown most take), `topics` and `authors` (different ones among
the five), `changed` (share of all places whose post is not among the five without rules). Writes
bench/results/rules.json.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.features.view import History
from batch.gate import positive_actions
from batch.metrics import hit_rate_at_k, hits_of, interval_95
from batch.model import Model
from batch.pipeline import acted_on_at, prepare_history, ranker_that_can, read_at, train_model, view_at
from batch.rank import make_scorer
from batch.replay import ReplayCases, Window, find_cases
from batch.rules import Picked, RuledPool, Rules, rules_of
from batch.settings import BatchSettings
from batch.slate import scores_at
from batch.tables import HOUR_S, Ints, Tables
from bench.figures import conclude
from bench.notes import Silent
from demo.parameters import Parameters
from demo.simulate import simulate
from source.engine import open_engine
from source.load import load_folder

K = 5
RETRAIN_S = 7 * 24 * HOUR_S
NO_RULES = "no rules"
SIMULATED = "simulated"
"""Stands for the simulated network of `hourfeed simulate`, as it comes: real logs at hand know no topics or authors."""


def rows_of(rules: Rules) -> dict[str, Rules]:
    """Return the rows of the table: each rule by itself, at the strengths that an operator may think of."""
    return {
        NO_RULES: rules,
        "max_per_topic = 2": replace(rules, max_per_topic=2),
        "max_per_topic = 1": replace(rules, max_per_topic=1),
        "max_per_author = 2": replace(rules, max_per_author=2),
        "max_per_author = 1": replace(rules, max_per_author=1),
        "diversity = 0.1": replace(rules, diversity=0.1),
        "diversity = 0.3": replace(rules, diversity=0.3),
        "diversity = 0.5": replace(rules, diversity=0.5),
        "explore_places = 1": replace(rules, explore_places=1),
        "explore_places = 2": replace(rules, explore_places=2),
    }


@dataclass(frozen=True)
class Shown:
    """What each row of the table showed: row → int32 (n_cases, K), indices of posts, -1 for none."""

    tables: Tables
    cases: ReplayCases
    top: dict[str, NDArray[np.int32]]


def replay_rules(settings: BatchSettings, tables: Tables, window: Window) -> Shown:
    """Replay the window under each row's rules."""
    history = prepare_history(settings, tables, None, window.begin_s)
    cases = find_cases(history, window, positive_actions(tables))
    rows = {name: rules for name, rules in rows_of(rules_of(settings)).items() if _can_bite(rules, tables)}
    top = {name: np.full((len(cases), K), -1, dtype=np.int32) for name in rows}
    for history, model, tau_s in _refreshes(settings, tables, cases, window):
        at = np.flatnonzero(cases.tau_s == tau_s)
        users, user_at = np.unique(cases.user[at], return_inverse=True)
        first = tau_s // HOUR_S
        buckets = range(first, (tau_s + window.every_s - 1) // HOUR_S + 1)
        view = view_at(settings, history, tau_s)
        scorer = make_scorer(ranker_that_can("lightgbm", model), model, view, buckets)
        scores = scores_at(scorer, view, acted_on_at(settings, view), users)
        for name, rules in rows.items():
            picked = RuledPool(rules, view).pick(scores, users, K)
            top[name][at] = _posts(view.pool, picked)[user_at, cases.at_s[at] // HOUR_S - first]
    return Shown(tables, cases, top)


def _can_bite(rules: Rules, tables: Tables) -> bool:
    """Say whether the posts have what the rules limit."""
    posts = tables.posts
    return (not rules.max_per_topic or (posts.topic != "").any()) and (
        not rules.max_per_author or (posts.author != "").any()
    )


def _refreshes(
    settings: BatchSettings, tables: Tables, cases: ReplayCases, window: Window
) -> Iterator[tuple[History, Model | None, int]]:
    trained_s, history, model = -1, None, None
    for tau_s in np.unique(cases.tau_s).tolist():
        due_s = window.begin_s + (tau_s - window.begin_s) // window.retrain_s * window.retrain_s
        if history is None or due_s > trained_s:
            history = prepare_history(settings, tables, None, due_s)
            model = train_model(settings, history, due_s, window.every_s, Silent())
            trained_s = due_s
        yield history, model, tau_s


def _posts(pool: Ints, picked: Picked) -> NDArray[np.int32]:
    return np.append(pool, -1).astype(np.int32)[picked.posts]


def figures_of(shown: Shown) -> dict[str, dict[str, float]]:
    """Return the columns of the table, by row."""
    cases, posts = shown.cases, shown.tables.posts
    n_posts = max(1, int((posts.born_s < cases.tau_s.max(initial=0)).sum()))
    hits = {name: hit_rate_at_k(hits_of(top, cases.posts)) for name, top in shown.top.items()}
    found = {}
    for name, top in shown.top.items():
        counts = np.bincount(top[top >= 0], minlength=len(posts.ids))
        apart = hits[name] - hits[NO_RULES]
        new = [np.setdiff1d(row, plain).size for row, plain in zip(top, shown.top[NO_RULES], strict=True)]
        found[name] = {
            f"hitrate@{K}": float(hits[name].mean()),
            "interval_95": interval_95(hits[name], cases.user),
            "difference": float(apart.mean()),
            "difference.interval_95": interval_95(apart, cases.user),
            "coverage": float((counts > 0).sum() / n_posts),
            "popular_share": float(np.sort(counts)[-10:].sum() / max(1, counts.sum())),
            "topics": _different(top, posts.topic),
            "authors": _different(top, posts.author),
            "changed": float(np.sum(new) / max(1, counts.sum())),
        }
    return found


def _different(top: NDArray[np.int32], group: NDArray[np.object_]) -> float:
    """Return how many different groups a list holds in the mean, posts without one not counted."""
    return float(np.mean([len(set(group[row[row >= 0]].tolist()) - {""}) for row in top])) if len(top) else 0.0


def main() -> int:
    """Load the log into a temporary database, replay it and print the table."""
    arguments = _arguments()
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (arguments.begin, arguments.end))
    with tempfile.TemporaryDirectory(prefix="hourfeed-rules-") as name:
        settings = BatchSettings(state=Path(name), database_url=None)
        engine = open_engine(None, settings.state)
        if arguments.log == SIMULATED:
            simulate(Parameters(), engine, settings.source, settings.state)
        else:
            folder = arguments.data / arguments.log
            load_folder(folder, engine, settings.source, settings.actions, settings.state / "quarantine")
        tables = read_at(settings, engine, end, Silent())
        engine.dispose()
    every_s = int(timedelta(hours=arguments.every_h).total_seconds())
    shown = replay_rules(settings, tables, Window(int(begin.timestamp()), int(end.timestamp()), every_s, RETRAIN_S))
    if not len(shown.cases):
        sys.exit(f"no cases between {arguments.begin} and {arguments.end}")
    rows = figures_of(shown)
    print(f"{len(shown.cases):,} cases of {len(np.unique(shown.cases.user)):,} users")
    print(_table(rows))
    return conclude("rules", {f"{row}.{figure}": v for row, of in rows.items() for figure, v in of.items()}, {})


def _table(rows: dict[str, dict[str, float]]) -> str:
    names = ("coverage", "popular_share", "topics", "authors", "changed")
    lines = [f"| rule | hitrate@{K} | against {NO_RULES} | {' | '.join(n.replace('_', ' ') for n in names)} |"]
    lines.append("| --- |" + " --- |" * (len(names) + 2))
    for row, of in rows.items():
        apart = "–" if row == NO_RULES else f"{of['difference']:+.4f} ± {of['difference.interval_95']:.4f}"
        lines.append(f"| {row} | {of[f'hitrate@{K}']:.4f} | {apart} | {' | '.join(f'{of[n]:.3f}' for n in names)} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(), help="folder of interaction logs")
    parser.add_argument("--log", default="deskdrop", help=f"the log's folder in it, or {SIMULATED!r}")
    parser.add_argument("--from", dest="begin", default="2016-07-01", help="first refresh, UTC")
    parser.add_argument("--to", dest="end", default="2016-07-22", help="end of the replay")
    parser.add_argument("--every-h", type=float, default=1.0, help="hours from one refresh to the next")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
