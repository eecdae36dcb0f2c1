"""Embedders: pretrained models that turn a text into a wide vector. The settings say which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.text.cache import CachedEmbedder, VectorCache

Pooling = Literal["mean", "cls"]
MOST_TOKENS = 256
"""What stands further back in a text is not read."""


class Embedder(Protocol):
    """A pretrained model. It reads its files at once, but loads a runtime only when a text is to be embedded."""

    @property
    def identity(self) -> str:
        """Return a name that is another one where vectors would be other ones: kind, pooling, digest of the files."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row a text, float32 (len(texts), width), none empty; no row depends on the texts beside it."""


@dataclass(frozen=True)
class EmbedderChoice:
    """Which embedder: "minilm", a folder or a hub's name of a Hugging Face encoder; and how tokens become a text."""

    name: str
    pooling: Pooling


def open_embedder(choice: EmbedderChoice, cache: Path | None, *, may_download: bool = True) -> "CachedEmbedder":
    """Return the embedder, with vectors kept in the file `cache` (None: nowhere).

    may_download : whether a model that is not on this machine is fetched from the hub.
    Raises BatchError where the packages of an extra are missing, or the model cannot be had.
    """
    opened = _minilm(choice) if choice.name == "minilm" else _hugging_face(choice, may_download)
    return CachedEmbedder(opened, VectorCache(cache) if cache else None)


def _minilm(choice: EmbedderChoice) -> Embedder:
    from batch.text.minilm import MiniLm  # not before the setting asks for it: extras are heavy

    return _with_extra("minilm", choice, lambda: MiniLm(choice.pooling))


def _hugging_face(choice: EmbedderChoice, may_download: bool) -> Embedder:
    from batch.text.huggingface import HuggingFaceEncoder

    make = partial(HuggingFaceEncoder, choice.name, choice.pooling, may_download=may_download)
    return _with_extra("embeddings", choice, make)


def _with_extra(extra: str, choice: EmbedderChoice, make: Callable[[], Embedder]) -> Embedder:
    try:
        return make()
    except ImportError as error:
        msg = (
            f"text_encoder = {choice.name!r} needs packages of the extra `{extra}` ({error}); "
            f"install them: pip install 'hourfeed[{extra}]', or set text_encoder to tfidf"
        )
        raise BatchError(msg) from error
