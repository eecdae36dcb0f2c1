"""Which encoder the settings ask for, fitted on the texts that were there; and back out of a saved model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from batch.text.embedded import EmbeddedEncoder, fit_embedded
from batch.text.embedder import EmbedderChoice, Pooling
from batch.text.encoder import TextEncoder
from batch.text.tfidf import TfidfEncoder, fit_tfidf

CACHE = "text-vectors.db"
"""The file of known vectors, in the state folder."""


@dataclass(frozen=True)
class TextOptions:
    """encoder : "none", "tfidf", "minilm", or a Hugging Face encoder. cache : file of known vectors, None for none."""

    encoder: str
    pooling: Pooling
    cache: Path | None


def fit_encoder(texts: Sequence[str], options: TextOptions, seed: int) -> TextEncoder | None:
    """Fit on the texts that are not empty; return None where they are too few, or none is wanted."""
    if options.encoder == "none":
        return None
    if options.encoder == "tfidf":
        return fit_tfidf(texts, seed)
    return fit_embedded(EmbedderChoice(options.encoder, options.pooling), texts, options.cache)


def read_encoder(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], cache: Path | None) -> TextEncoder:
    """Return the encoder of a saved model; KeyError: of no known kind. BatchError: its files are not there."""
    if about["kind"] == TfidfEncoder.kind:
        return TfidfEncoder.read(about, arrays)
    if about["kind"] == EmbeddedEncoder.kind:
        return EmbeddedEncoder.read(about, arrays, cache)
    raise KeyError(about["kind"])
