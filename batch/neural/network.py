"""The networks: their weights as arrays, and what they compute of them, for numpy and PyTorch alike.

    score(user, post, bucket) = user vector · post vector + hour network(post, bucket)

A vector has three blocks: a learned one; who stands behind, mapped; the text. The last two are multiplied with a gate,
one number that the tower sets. So likeness of texts and of people counts from the start, also for posts that nobody
knew at training, and training decides how much and for whom. Two towers: Yi et al., RecSys 2019.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.features.matrix import Column
from batch.kernels import dot_rows
from batch.neural.inputs import Side
from batch.neural.knots import Knots

Matrix = NDArray[np.float32]
Times = Callable[[Any, Any], Any]
Weights = Mapping[str, Any]
LEARNED_DIMS = 32
_TOWER = ("in", "in_bias", "out", "out_bias")
WEIGHTS = (
    *(f"{side}.{name}" for side in ("user", "post") for name in _TOWER),
    "crowd",
    *(f"hour.{name}" for name in ("in", "in_bias", "mid", "mid_bias", "out")),
)
"""Names of the weights."""


@dataclass(frozen=True)
class Network:
    """A trained network. columns : those that it sees. knots : of "user", "post", "hour". weights : float32 arrays."""

    columns: tuple[Column, ...]
    knots: Mapping[str, Knots]
    weights: Mapping[str, Matrix]

    def arrays(self) -> dict[str, Matrix]:
        """Return all numbers by name, for saving."""
        return {f"knots.{name}": knots.at for name, knots in self.knots.items()} | dict(self.weights)

    @staticmethod
    def of(columns: tuple[Column, ...], arrays: Mapping[str, Matrix]) -> "Network":
        """Return the network of saved numbers; raise KeyError where some are missing."""
        knots = {name: Knots(arrays[f"knots.{name}"]) for name in ("user", "post", "hour")}
        return Network(columns, knots, {name: arrays[name] for name in WEIGHTS})


def tower(weights: Weights, side: str, inputs: Any, crowd: Any, text: Any, times: Times) -> tuple[Any, Any, Any]:
    """Return the three blocks of the vectors of a side ("user" or "post"), a row for each row of the inputs."""
    hidden = (times(inputs, weights[f"{side}.in"]) + weights[f"{side}.in_bias"]).clip(0, None)
    out = times(hidden, weights[f"{side}.out"]) + weights[f"{side}.out_bias"]
    gates = out[:, LEARNED_DIMS:]
    return out[:, :LEARNED_DIMS], times(crowd, weights["crowd"]) * gates[:, :1], text * gates[:, 1:]


def hour_score(weights: Weights, inputs: Any, times: Times) -> Any:
    """Return the score of each row of a post and an hour; shape (n_rows, 1)."""
    hidden = (times(inputs, weights["hour.in"]) + weights["hour.in_bias"]).clip(0, None)
    hidden = (times(hidden, weights["hour.mid"]) + weights["hour.mid_bias"]).clip(0, None)
    return times(hidden, weights["hour.out"])


def tower_inputs(knots: Knots, side: Side) -> Matrix:
    """Return what goes into a tower; float32, shape (n_rows, width)."""
    return np.concatenate([knots.encode(side.numbers), side.plain, side.crowd, side.text], axis=1)


def vectors(network: Network, side: str, inputs: Side) -> Matrix:
    """Return the vectors of users or posts; float32, shape (n_rows, dims)."""
    into = tower_inputs(network.knots[side], inputs)
    return np.concatenate(tower(network.weights, side, into, inputs.crowd, inputs.text, times_by_row), axis=1)


def times_by_row(left: Matrix, right: Matrix) -> Matrix:
    """Return left @ right, each row summed alike whatever rows stand beside it: BLAS would round otherwise."""
    out = np.zeros((left.shape[0], right.shape[1]), dtype=np.float32)
    dot_rows(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return out
