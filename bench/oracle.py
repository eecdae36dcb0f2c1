"""How good the feeds are on the simulated network, where the true probability of a like is known.

    python -m bench.oracle [--users N] [--posts N] [--days N] [--seed N]

Simulates a network, ranks as of the end of its log as `hourfeed batch` does with default settings, and asks the oracle
how likely each user likes at least one of the first five posts, in the hours from 6 to 23 of the day after. As in the
product, posts that the user has been shown are no candidates, for any of the compared.

`bound` is what can be had from the log by whoever is told how likes come about (bench/bound.py). Exit status 1 when a
target of bench/targets.toml is missed.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.metrics import interval_95
from batch.pipeline import acted_on_at, prepare_history, ranker_that_can, read_at, train_model, view_at
from batch.rank import make_scorer
from batch.rules import rules_of
from batch.settings import BatchSettings
from batch.slate import pick_slates
from batch.tables import HOUR_S, Floats, Ints
from bench.bound import best_guess
from bench.figures import conclude, read_targets
from bench.notes import Silent
from demo.oracle import Oracle
from demo.parameters import Parameters
from demo.sessions import Network, make_network
from demo.simulate import simulate
from source.engine import open_engine

K = 5
END = datetime(2021, 12, 30, tzinfo=UTC)
"""End of a simulated log."""
_HOURS = range(6, 24)
_MOST_USERS = 2_000
_BASELINES = ("popular_24h", "popular_7d", "popular_all", "random")


@dataclass(frozen=True)
class Judge:
    """Says how good slates are for some users in some hours.

    users : int64 (n_users,), indices. buckets : hours since 1970. candidate : bool (n_users, n_posts).
    """

    oracle: Oracle
    view: View
    users: Ints
    buckets: range
    candidate: NDArray[np.bool_]

    def expected_hits(self, slates: NDArray[np.int32]) -> Floats:
        """Return the probability that each user likes at least one post, mean over the hours; (n_users,).

        slates : (n_users, n_hours, K), indices of posts, -1 for none.
        """
        hours = np.broadcast_to(np.asarray(self.buckets)[None, :, None], slates.shape)
        users = np.broadcast_to(self.users[:, None, None], slates.shape)
        liked = np.where(slates >= 0, self.oracle.by_place(users, np.maximum(slates, 0), hours), 0.0)
        return np.asarray((1 - np.prod(1 - liked, axis=2)).mean(axis=1))

    def best(self) -> NDArray[np.int32]:
        """Return the slates of one who knows the oracle."""
        return np.stack([self.top(self._probability(hour)) for hour in self.buckets], axis=1)

    def top(self, scores: Floats) -> NDArray[np.int32]:
        """Return the best candidates by scores of (n_users, n_posts); (n_users, K)."""
        found = np.where(self.candidate, scores, -np.inf)
        return np.argsort(-found, axis=1, kind="stable")[:, :K].astype(np.int32)

    def always(self, slates: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return slates (n_users, K) for every hour."""
        return np.repeat(slates[:, None, :], len(self.buckets), axis=1)

    def _probability(self, bucket: int) -> Floats:
        shape = len(self.users), self.view.n_posts
        users, posts = (np.broadcast_to(part, shape) for part in np.ix_(self.users, np.arange(shape[1])))
        return self.oracle.by_place(users, posts, np.full(shape, bucket))


def main() -> int:
    """Simulate, rank, ask the oracle, and return the exit status."""
    parameters = _parameters()
    with tempfile.TemporaryDirectory(prefix="hourfeed-oracle-") as name, only_defaults():
        settings = BatchSettings(state=Path(name))
        figures = measure(settings, parameters)
    size = "demo" if parameters.users <= Parameters.users else "large"
    return conclude(f"oracle_{size}", figures, read_targets(f"oracle_{size}"))


def measure(settings: BatchSettings, parameters: Parameters) -> dict[str, float]:
    """Return the figures of a network of these parameters, simulated into the empty state folder of the settings."""
    engine = open_engine(None, settings.state)
    try:
        simulate(parameters, engine, settings.source, settings.state)
        tables = read_at(settings, engine, parameters.end, Silent())
    finally:
        engine.dispose()
    history = prepare_history(settings, tables, None, tables.as_of_s)
    model = train_model(settings, history, tables.as_of_s, HOUR_S, Silent())
    view = view_at(settings, history, tables.as_of_s)
    network = make_network(parameters)
    judge = _judge(settings, view, network)
    acted = acted_on_at(settings, view)
    slates = {"oracle": judge.best(), "bound": judge.always(judge.top(best_guess(network, view, judge.users)))}
    for ranker in (settings.ranker, *_BASELINES):
        scorer = make_scorer(ranker_that_can(ranker, model), model, view, judge.buckets)
        slates[ranker] = pick_slates(scorer, view, acted, judge.users, K, rules_of(settings))
    hits = {ranker: judge.expected_hits(posts) for ranker, posts in slates.items()}
    hits["hourfeed"] = hits.pop(settings.ranker)
    return _figures(hits, np.isin(judge.users, _sample(view.n_users)), network.users.cold[judge.users])


def _sample(n_users: int) -> Ints:
    """Return the users over whom means are taken, indices: all of them, or some of many."""
    return np.random.default_rng(0).permutation(n_users)[:_MOST_USERS]


def _judge(settings: BatchSettings, view: View, network: Network) -> Judge:
    oracle = Oracle.load(settings.state / "oracle.npz")
    users = np.union1d(_sample(view.n_users), np.flatnonzero(network.users.cold))
    acted = acted_on_at(settings, view)
    candidate = np.repeat(view.exists[None, :], len(users), axis=0)
    for row, user in enumerate(users.tolist()):
        candidate[row, acted.post[acted.begin[user] : acted.begin[user + 1]]] = False
    first = view.tau_s // HOUR_S
    return Judge(oracle, view, users, range(first + _HOURS.start, first + _HOURS.stop), candidate)


def _figures(hits: dict[str, Floats], sampled: NDArray[np.bool_], cold: NDArray[np.bool_]) -> dict[str, float]:
    """Return means over the users `sampled`, and over all `cold` ones, those without any event."""
    mean = {ranker: float(values[sampled].mean()) for ranker, values in hits.items()}
    figures = {f"{ranker}.hits@{K}": round(value, 4) for ranker, value in mean.items()}
    for other in ("oracle", "bound", "popular_24h"):
        figures[f"hourfeed.share_of_{other}"] = round(mean["hourfeed"] / mean[other], 4)
    figures["bound.share_of_oracle"] = round(mean["bound"] / mean["oracle"], 4)
    difference = (hits["hourfeed"] - hits["popular_24h"])[cold]
    half = interval_95(difference, np.arange(len(difference)))
    figures |= {
        "cold.users": int(cold.sum()),
        f"cold.hourfeed.hits@{K}": round(float(hits["hourfeed"][cold].mean()), 4),
        f"cold.popular_24h.hits@{K}": round(float(hits["popular_24h"][cold].mean()), 4),
        "cold.difference.mean": round(float(difference.mean()), 4),
        "cold.difference.low": round(float(difference.mean() - half), 4),
    }
    return figures


def _parameters() -> Parameters:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("users", "posts", "days", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Parameters, name))
    given = parser.parse_args()
    return Parameters(users=given.users, posts=given.posts, days=given.days, seed=given.seed, end=END)


@contextlib.contextmanager
def only_defaults() -> Iterator[None]:
    """Keep a developer's own settings out, those of the environment and of a file in the working folder."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("HOURFEED_")}
    folder = Path.cwd()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        try:
            yield
        finally:
            os.chdir(folder)
            os.environ.update(kept)


if __name__ == "__main__":
    sys.exit(main())
