"""Features of a post's text; the match of texts stands with the other pairs, in pair.py."""

import numpy as np

from batch.features.registry import Feature, feature, register
from batch.features.view import View
from batch.tables import Floats

TEXT_DIMS = 8


@feature("text_length", "post", "AC", "characters of its text")
def _text_length(view: View) -> Floats:
    lengths = np.array([len(text) for text in view.history.tables.posts.text], dtype=np.float64)
    return np.where(lengths == 0, np.nan, lengths)


def _text_component(view: View, dim: int) -> Floats:
    text = view.history.text
    if text is None or dim >= text.shape[1]:
        return np.full(view.n_posts, np.nan)
    return text[:, dim].astype(np.float64)


for _dim in range(TEXT_DIMS):
    register(
        Feature(
            f"text_{_dim}",
            "post",
            "A",
            f"component {_dim} of its text vector",
            lambda view, dim=_dim: _text_component(view, dim),
        )
    )
