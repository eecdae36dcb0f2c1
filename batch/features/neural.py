"""The neural recommender's answer, as a feature of the trees."""

import numpy as np
from numpy.typing import NDArray

from batch.features.registry import Feature, register
from batch.features.view import View
from batch.tables import Ints


def _neural(view: View, users: Ints) -> NDArray[np.float32]:
    from batch.neural.scorer import match  # not at the top: the networks are fed with features

    if view.network is None:
        return np.full((len(users), len(view.pool)), np.nan, dtype=np.float32)
    return match(view.network, view, users)


register(
    Feature(
        "neural",
        "user×post",
        "A",
        "product of the vectors that the neural recommender gives the user and the post (setting neural_feature)",
        _neural,
        needs_network=True,
    )
)
