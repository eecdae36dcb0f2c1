"""Trees grown by two Dask workers on this machine against those of one process: how well they order, what they take.

    python -m bench.growing [--users N] [--posts N] [--activity SHARE] [--groups N] [--seeds N] [--smoke]

Simulates a network, draws training cases, and grows trees on the first three quarters of them by either way, for each
seed. What is told is the share of pairs of a touched and an untouched post that the trees put in the right order, over
the cases of the last quarter, and its difference with a 95 % interval over cases. `sampled`: LambdaRank against sampled
posts; `shown`: log-odds of a response to what was shown, without the response model. Seconds are of the wall, with
workers that stand ready, sending the rows included. Writes bench/results/growing.json; exit status 1 when a target of
bench/targets.toml is missed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from batch.cases import Cases, Sampling, draw_cases
from batch.dask_cluster import OwnCluster
from batch.features.matrix import Column, model_columns
from batch.features.response import RESPONSE
from batch.features.view import History, View
from batch.grow import Grower, grow_here
from batch.grow_dask import DaskGrower
from batch.pipeline import prepare_history, read_at, view_at
from batch.settings import BatchSettings
from batch.shown_train import right_pairs, train_on_shown
from batch.tables import Floats, Ints
from batch.train import Training, as_booster, train_trees
from bench.figures import conclude, read_targets
from bench.notes import Silent
from demo.parameters import Parameters
from demo.simulate import simulate
from source.engine import open_engine
from source.schema import SourceSchema

END = datetime(2026, 3, 1, tzinfo=UTC)
_SEEN = 0.75


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6_000)
    parser.add_argument("--posts", type=int, default=2_500)
    parser.add_argument("--activity", type=float, default=0.15)
    parser.add_argument("--groups", type=int, default=12_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="few users, one seed, and nothing is judged")
    given = parser.parse_args(arguments)
    if given.smoke:
        given.users, given.posts, given.groups, given.seeds = 500, 300, 1_000, 1
    figures = {"users": float(given.users), "posts": float(given.posts)}
    with (
        tempfile.TemporaryDirectory() as folder,
        OwnCluster() as cluster,
    ):
        parameters = Parameters(given.users, given.posts, days=28, activity=given.activity, end=END)
        growers: dict[str, Grower] = {"here": grow_here, "workers": DaskGrower(cluster.address)}
        for kind, cases, columns in _drawn(Path(folder), parameters, given.groups):
            measured = _measure(kind, cases, columns, growers, given.seeds)
            figures |= {f"{kind}.{name}": value for name, value in measured.items()}
    name = "growing_smoke" if given.smoke else "growing"
    return conclude(name, figures, read_targets(name))


def _drawn(state: Path, parameters: Parameters, groups: int) -> Iterator[tuple[str, Cases, list[Column]]]:
    """Draw cases with views as touches, and with views as what was shown."""
    engine = open_engine(None, state)
    simulate(parameters, engine, SourceSchema(), state)
    for kind, shown, without in (("sampled", (), ()), ("shown", ("view",), (RESPONSE,))):
        views = 0 if shown else 1
        settings = BatchSettings(
            state=state, actions={"view": views, "like": 2}, shown=shown, train_groups=groups, without_features=without
        )
        tables = read_at(settings, engine, END - timedelta(hours=12), Silent(), full_refresh=True)
        history = prepare_history(settings, tables, None, tables.as_of_s)
        columns = model_columns(View(history, tables.as_of_s), settings.without_features)
        sampling = Sampling(
            settings.train_days, groups, settings.train_negatives, settings.hours, refresh_h=1, seed=settings.seed
        )
        pool_at = partial(_pool_at, settings, history)
        yield kind, draw_cases(history, columns, tables.as_of_s, sampling, pool_at, lambda _done, _all: None), columns
    engine.dispose()


def _pool_at(settings: BatchSettings, history: History, view: View) -> Ints:
    return view_at(settings, history, view.tau_s).pool


def _measure(
    kind: str, cases: Cases, columns: list[Column], growers: dict[str, Grower], seeds: int
) -> dict[str, float]:
    n_seen = int(_SEEN * len(cases.group))
    rows = int(cases.group[:n_seen].sum())
    seen = Cases(cases.matrix[:rows], cases.grade[:rows], cases.group[:n_seen], cases.chance[:rows])
    train, defaults = (train_trees if kind == "sampled" else train_on_shown), BatchSettings()
    shares, seconds = {name: list[Floats]() for name in growers}, dict.fromkeys(growers, 0.0)
    for seed in range(seeds):
        training = Training(defaults.trees, defaults.leaves, defaults.learning_rate, seed)
        for name, grow in growers.items():
            begun = time.perf_counter()
            trees, used = train(seen, columns, training, lambda _done, _trees: None, grow)
            seconds[name] += (time.perf_counter() - begun) / seeds
            matrix = cases.matrix[rows:][:, [columns.index(column) for column in used]]
            scores = np.asarray(as_booster(trees).predict(matrix, raw_score=True, num_threads=1))
            touched, sizes = cases.grade[rows:] > 0, cases.group[n_seen:]
            shares[name].append(right_pairs(scores - np.log(cases.chance[rows:]), touched, sizes))
    mean = {name: np.mean(of_seeds, axis=0) for name, of_seeds in shares.items()}
    better = mean["workers"] - mean["here"]
    return {
        "rows": rows,
        "columns": len(columns),
        "unseen_cases": len(better),
        **{f"{name}.right_pairs": float(share.mean()) for name, share in mean.items()},
        "difference": float(better.mean()),
        "difference_95": float(1.96 * better.std() / np.sqrt(len(better))),
        **{f"{name}.wall_s": seconds[name] for name in growers},
        "ratio": seconds["workers"] / seconds["here"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
