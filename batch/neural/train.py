"""Trains the networks: softmax over each case's posts, so that what was touched stands before what was not.

The cost is bounded by the number of cases. 12,000 cases of 52 posts, four times through, are 2.5 million rows of about
50,000 multiplications, forth and twice as many back: 0.8 Tflop, a minute on one core, for any number of users.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.features.matrix import Column
from batch.neural.examples import Examples
from batch.neural.inputs import Matrix, hour_columns, post_columns, user_columns
from batch.neural.knots import Knots, find_knots
from batch.neural.network import LEARNED_DIMS, Network, hour_score, tower, tower_inputs
from batch.tables import Ints

HIDDEN = 64
CROWD_MAPPED = 32
EPOCHS = 4
_GROUPS_A_STEP = 32
_RATE = 2e-3
_DECAY = 1e-2
DROPPED = 0.1


def train_network(
    examples: Examples, columns: list[Column], seed: int, progress: Callable[[int, int], None]
) -> Network:
    """Train on the cases; `progress` hears (epochs done, epochs). Same cases and seed, same weights.

    Raises BatchError where PyTorch is not installed.
    """
    torch = import_torch()
    random = np.random.default_rng(seed)
    knots = {
        "user": find_knots(examples.user.numbers),
        "post": find_knots(examples.post.numbers),
        "hour": find_knots(examples.hour),
    }
    weights = {name: torch.nn.Parameter(torch.from_numpy(array)) for name, array in _start(examples, knots, random)}
    with _repeatable(torch), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _fit(torch, weights, examples, knots, random, progress)
    seen = (*user_columns(columns), *post_columns(columns), *hour_columns(columns))
    return Network(seen, knots, {name: parameter.detach().numpy().copy() for name, parameter in weights.items()})


def import_torch() -> Any:
    """Return PyTorch; raise BatchError, naming the extra, where it is not installed."""
    try:
        import torch  # of an extra, and slow to import
    except ImportError as error:
        msg = 'the neural recommender is trained with PyTorch, which is not installed: pip install "hourfeed[neural]"'
        raise BatchError(msg) from error
    return torch


class _repeatable:  # noqa: N801 - a context manager
    """One thread, and only algorithms that give the same sums every time; as it was afterwards."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    def __enter__(self) -> None:
        self._torch.set_num_threads(1)
        self._torch.use_deterministic_algorithms(True)

    def __exit__(self, *_of_an_error: object) -> None:
        self._torch.set_num_threads(self._before[0])
        self._torch.use_deterministic_algorithms(self._before[1])


def _start(examples: Examples, knots: dict[str, Knots], random: np.random.Generator) -> Iterator[tuple[str, Matrix]]:
    """Yield the first weights: random as by He et al., ICCV 2015, the learned block small, the gates at 1."""
    crowd = examples.user.crowd.shape[1]
    text = examples.user.text.shape[1]
    for side, inputs in (("user", examples.user), ("post", examples.post)):
        width = knots[side].width + inputs.plain.shape[1] + crowd + text
        yield f"{side}.in", _random(random, width, HIDDEN, 2.0)
        yield f"{side}.in_bias", np.zeros(HIDDEN, dtype=np.float32)
        yield f"{side}.out", _random(random, HIDDEN, LEARNED_DIMS + 2, 0.2)
        bias = np.zeros(LEARNED_DIMS + 2, dtype=np.float32)
        bias[LEARNED_DIMS:] = 1
        yield f"{side}.out_bias", bias
    yield "crowd", _random(random, crowd, CROWD_MAPPED, 2.0)
    yield "hour.in", _random(random, knots["hour"].width, HIDDEN, 2.0)
    yield "hour.in_bias", np.zeros(HIDDEN, dtype=np.float32)
    yield "hour.mid", _random(random, HIDDEN, HIDDEN // 2, 2.0)
    yield "hour.mid_bias", np.zeros(HIDDEN // 2, dtype=np.float32)
    yield "hour.out", _random(random, HIDDEN // 2, 1, 1.0)


def _random(random: np.random.Generator, n_in: int, n_out: int, gain: float) -> Matrix:
    return np.asarray(random.standard_normal((n_in, n_out)) * np.sqrt(gain / max(n_in, 1)), dtype=np.float32)


def _fit(
    torch: Any,
    weights: dict[str, Any],
    examples: Examples,
    knots: dict[str, Knots],
    random: np.random.Generator,
    progress: Callable[[int, int], None],
) -> None:
    n_groups = len(examples.begin) - 1
    steps = EPOCHS * -(-n_groups // _GROUPS_A_STEP)
    optimizer = torch.optim.AdamW(list(weights.values()), lr=_RATE, weight_decay=_DECAY)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(EPOCHS):
        order = random.permutation(n_groups)
        for at in range(0, n_groups, _GROUPS_A_STEP):
            optimizer.zero_grad()
            _loss(torch, weights, examples, knots, np.sort(order[at : at + _GROUPS_A_STEP])).backward()
            optimizer.step()
            slower.step()
        progress(epoch + 1, EPOCHS)


def _loss(torch: Any, weights: dict[str, Any], examples: Examples, knots: dict[str, Knots], groups: Ints) -> Any:
    """Return the mean cross-entropy between the softmax over a case's posts and their shares of the case's gain."""
    size = examples.begin[groups + 1] - examples.begin[groups]
    owner = np.repeat(np.arange(len(groups)), size)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    rows = np.repeat(examples.begin[groups], size) + place
    posts, post_at = np.unique(examples.post_at[rows], return_inverse=True)

    def times(left: Any, right: Any) -> Any:
        return torch.matmul(torch.nn.functional.dropout(left, DROPPED), right)

    def blocks(side: str, inputs: Any) -> Any:
        into, crowd, text = (
            torch.from_numpy(array) for array in (tower_inputs(knots[side], inputs), inputs.crowd, inputs.text)
        )
        return tower(weights, side, into, crowd, text, times)

    of_user = blocks("user", examples.user.rows(groups))
    of_post = blocks("post", examples.post.rows(posts))
    owner_at, post_index = torch.from_numpy(owner), torch.from_numpy(post_at)
    pair = sum((user[owner_at] * post[post_index]).sum(1) for user, post in zip(of_user, of_post, strict=True))
    hour = hour_score(weights, torch.from_numpy(knots["hour"].encode(examples.hour[rows])), times)[:, 0]
    scores = torch.full((len(groups), int(size.max())), -torch.inf)
    scores = scores.index_put((owner_at, torch.from_numpy(place)), pair + hour)
    share = torch.from_numpy(_shares(examples.grade[rows], owner, len(groups)))
    chance = torch.log_softmax(scores, dim=1)[owner_at, torch.from_numpy(place)]
    return -(share * chance).sum() / len(groups)


def _shares(grade: NDArray[np.int32], owner: Ints, n_groups: int) -> Matrix:
    """Return each row's share of the gain of its group, 2^grade - 1 as in the trees' loss; float32 (n_rows,)."""
    gain = np.exp2(grade) - 1.0
    whole = np.bincount(owner, weights=gain, minlength=n_groups)[owner]
    return np.divide(gain, whole, out=np.zeros_like(gain), where=whole > 0).astype(np.float32)
