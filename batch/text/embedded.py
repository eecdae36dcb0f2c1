"""A pretrained model as an encoder: its vectors, reduced to the directions in which the log's own texts differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.text.embedder import Embedder, EmbedderChoice, Pooling, open_embedder
from batch.text.encoder import DIMS, FEWEST_TEXTS
from batch.text.reduction import Reduction, fit_reduction


@dataclass(frozen=True)
class EmbeddedEncoder:
    """A fitted encoder."""

    kind: ClassVar[str] = "embedded"

    choice: EmbedderChoice
    embedder: Embedder
    reduction: Reduction

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, float32 (len(texts), dims); an empty text gets zeros."""
        known = np.array([bool(text.strip()) for text in texts], dtype=bool)
        vectors = np.zeros((len(texts), len(self.reduction.components)), dtype=np.float32)
        if known.any():
            written = [text for text, some in zip(texts, known, strict=True) if some]
            vectors[known] = self.reduction.apply(self.embedder.embed(written))
        return vectors

    def about(self) -> dict[str, Any]:
        """Return which embedder it is."""
        return {
            "kind": self.kind,
            "name": self.choice.name,
            "pooling": self.choice.pooling,
            "identity": self.embedder.identity,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the reduction; the embedder's weights stay where they are."""
        return {"mean": self.reduction.mean, "components": self.reduction.components}

    @classmethod
    def read(cls, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], cache: Path | None) -> Self:
        """Return what was saved; raise BatchError where the embedder is not the one that the model was made with."""
        if not isinstance(about["name"], str) or about["pooling"] not in get_args(Pooling):
            raise ValueError("the name of its text encoder, or how that pools, is none")
        reduction = Reduction.of(arrays["mean"], arrays["components"])
        choice = EmbedderChoice(about["name"], about["pooling"])
        embedder = open_embedder(choice, cache, may_download=False)  # a file must not make us fetch what it names
        if embedder.identity != about["identity"]:
            msg = (
                f"the model was trained on text vectors of {about['identity']}, but {choice.name} is now "
                f"{embedder.identity}; train a new model, or put the old text encoder back"
            )
            raise BatchError(msg)
        return cls(choice, embedder, reduction)


def fit_embedded(choice: EmbedderChoice, texts: Sequence[str], cache: Path | None) -> EmbeddedEncoder | None:
    """Fit on the texts that are not empty; return None where they are too few to learn from."""
    written = [text for text in texts if text.strip()]
    if len(written) < FEWEST_TEXTS:
        return None
    embedder = open_embedder(choice, cache)
    return EmbeddedEncoder(choice, embedder, fit_reduction(embedder.embed(written), DIMS))
