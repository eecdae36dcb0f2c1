"""What the slate rules cost in processor time at the reference scale, on made-up scores.

    python -m bench.rules_cost

Picks the slates of a thousand users, with 7,023 posts of 10 topics and 700 authors and 24 hours, and reckons from that
what 163,205 users take. Scoring is not in it: it is the same with and without rules. Prints seconds of processor time;
writes bench/results/rules_cost.json.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from batch.features.segments import build_segments
from batch.features.view import View, build_history
from batch.features.vocabulary import learn
from batch.rules import RuledPool, Rules, Scores
from batch.tables import HOUR_S, Events, Posts, Tables, Users
from bench.figures import conclude
from bench.rules import rows_of

POSTS, USERS, HOURS, TOP_N = 7_023, 1_000, 24, 20
REFERENCE_USERS = 163_205
_AS_OF_S = 100 * HOUR_S


def main() -> int:
    """Print the seconds of each rule, and of the plain pick."""
    random = np.random.default_rng(0)
    view, scores = _view(random), _scores(random)
    scores = replace(scores, topic=view.history.topic)
    figures = {}
    for name, rules in rows_of(Rules()).items():
        figures[f"{name}.cpu_s"] = round(_seconds(_pick(rules, view, scores)) * REFERENCE_USERS / USERS, 1)
    return conclude("rules_cost", figures, {})


def _pick(rules: Rules, view: View, scores: Scores) -> Callable[[], object]:
    if not rules.on:
        return lambda: scores.best(TOP_N)
    ruled, users = RuledPool(rules, view), np.arange(USERS)
    return lambda: ruled.pick(scores, users, TOP_N)


def _seconds(run: Callable[[], object]) -> float:
    run()  # compiles
    begun = time.process_time()
    run()
    return time.process_time() - begun


def _view(random: np.random.Generator) -> View:
    def named(letter: str, codes: NDArray[np.int64]) -> NDArray[np.object_]:
        return np.array([f"{letter}{code}" for code in codes], dtype=object)

    topic, author = named("t", random.zipf(1.5, POSTS) % 10), named("a", random.integers(0, 700, POSTS))
    dated = random.uniform(0, _AS_OF_S, POSTS)
    none = np.full(POSTS, "", dtype=object)
    posts = Posts(np.arange(POSTS), none, topic, author, np.zeros(POSTS, dtype=bool), dated, dated)
    touched = np.arange(POSTS // 2)
    events = Events(
        np.full(len(touched), _AS_OF_S - 1), touched.astype(np.int32) % USERS, touched.astype(np.int32),
        np.zeros(len(touched), dtype=np.int8),
    )  # fmt: skip
    tables = Tables(Users(np.arange(USERS), {}), posts, events, ("view",), np.ones(1, dtype=np.int64), _AS_OF_S, 0)
    history = build_history(tables, learn({"topic": topic}), build_segments(tables.users), None)
    text = random.normal(size=(POSTS, 128)).astype(np.float32)
    return View(replace(history, text=text / np.linalg.norm(text, axis=1, keepdims=True)), _AS_OF_S)


def _scores(random: np.random.Generator) -> Scores:
    """Return scores in which the post weighs as much as the user's taste for its topic, and 400 posts acted on."""
    acted = [np.sort(random.choice(POSTS, 400, replace=False)) for _ in range(USERS)]
    return Scores(
        random.normal(size=POSTS) + 0.5 * random.normal(size=(USERS, POSTS)),
        np.zeros(POSTS, dtype=np.int64),
        random.normal(size=(USERS, 11, 1)) + 0.1 * random.normal(size=(USERS, 11, HOURS)),
        0.3 * random.normal(size=(POSTS, 1)) + 0.1 * random.normal(size=(POSTS, HOURS)),
        np.concatenate(acted),
        np.arange(USERS + 1) * 400,
    )


if __name__ == "__main__":
    sys.exit(main())
