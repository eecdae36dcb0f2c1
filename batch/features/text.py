"""Text vectors: TF-IDF reduced by a truncated SVD (latent semantic analysis), the same for the same texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

DIMS = 64
_MOST_TERMS = 20_000
_FEWEST_TEXTS = 10


@dataclass(frozen=True)
class TextEncoder:
    """A fitted encoder; it is part of a model. terms : column order; idf : (n_terms,); components : (dims, n_terms)."""

    terms: tuple[str, ...]
    idf: NDArray[np.float64]
    components: NDArray[np.float64]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, float32 (len(texts), dims); a text without a known term gets zeros."""
        vectorizer = _vectorizer(vocabulary={term: place for place, term in enumerate(self.terms)})
        vectorizer.idf_ = self.idf
        vectors = vectorizer.transform(texts) @ self.components.T
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
        return np.asarray(unit, dtype=np.float32)


def fit_encoder(texts: Sequence[str], seed: int) -> TextEncoder | None:
    """Fit on the texts that are not empty; return None where they are too few to learn from."""
    known = [text for text in texts if text.strip()]
    if len(known) < _FEWEST_TEXTS:
        return None
    vectorizer = _vectorizer(min_df=2, max_features=_MOST_TERMS)
    try:
        weights = vectorizer.fit_transform(known)
    except ValueError:  # no term stands in two texts
        return None
    dims = min(DIMS, weights.shape[1] - 1, len(known) - 1)
    if dims < 1:
        return None
    with threadpool_limits(1, "blas"):  # sums of another number of threads round otherwise
        components = TruncatedSVD(dims, random_state=seed).fit(weights).components_
    return TextEncoder(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_, components)


def _vectorizer(**options: object) -> TfidfVectorizer:
    return cast("TfidfVectorizer", TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", **options))
