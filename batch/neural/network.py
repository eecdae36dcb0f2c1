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

from batch.errors import BatchError
from batch.features.matrix import Column
from batch.kernels import dot_rows
from batch.neural.inputs import Side, hour_columns, post_columns, user_columns
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
        """Return the network of saved numbers; raise KeyError where some are missing, ValueError where they do not fit.

        Whether they fit the texts, topics and crowd of a moment is seen when they are multiplied.
        """
        knots = {name: Knots(arrays[f"knots.{name}"]) for name in ("user", "post", "hour")}
        seen = {"user": user_columns(columns), "post": post_columns(columns), "hour": hour_columns(columns)}
        for name, known in knots.items():
            if known.at.ndim != 2 or known.at.shape[0] != len(seen[name]) or known.at.shape[1] < 2:
                msg = f"knots of shape {known.at.shape} do not go with {len(seen[name])} columns of the {name}"
                raise ValueError(msg)
        weights = {name: arrays[name] for name in WEIGHTS}
        _refuse_other_shapes(weights, knots["hour"].width)
        return Network(columns, knots, weights)


def _refuse_other_shapes(weights: Mapping[str, Matrix], hour_width: int) -> None:
    if any(array.dtype != np.float32 for array in weights.values()):
        raise ValueError("weights of a network are float32")
    if any(weights[name].ndim != 2 for name in WEIGHTS if not name.endswith("bias")):
        raise ValueError("weights of a network have two dimensions")
    hidden, mid = weights["hour.in"].shape[1], weights["hour.mid"].shape[1]
    wanted = {
        "hour.in": (hour_width, hidden),
        "hour.in_bias": (hidden,),
        "hour.mid": (hidden, mid),
        "hour.mid_bias": (mid,),
        "hour.out": (mid, 1),
    }
    for side in ("user", "post"):
        hidden = weights[f"{side}.in"].shape[1]
        wanted |= {
            f"{side}.in_bias": (hidden,),
            f"{side}.out": (hidden, LEARNED_DIMS + 2),
            f"{side}.out_bias": (LEARNED_DIMS + 2,),
        }
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            msg = f"the weights {name} are of shape {weights[name].shape}, not {shape}"
            raise ValueError(msg)


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
    if left.shape[1] != right.shape[0]:  # the loop below would read beyond an array
        msg = f"the network has weights for {right.shape[0]} inputs, and there are {left.shape[1]}; train a new one"
        raise BatchError(msg)
    out = np.zeros((left.shape[0], right.shape[1]), dtype=np.float32)
    dot_rows(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return out
