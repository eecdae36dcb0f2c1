"""TF-IDF reduced by a truncated SVD (latent semantic analysis): needs no model of language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from batch.text.encoder import DIMS, FEWEST_TEXTS, unit_rows

_MOST_TERMS = 20_000


@dataclass(frozen=True)
class TfidfEncoder:
    """A fitted encoder. terms : column order; idf : (n_terms,); components : (dims, n_terms)."""

    kind: ClassVar[str] = "tfidf"

    terms: tuple[str, ...]
    idf: NDArray[np.float64]
    components: NDArray[np.float64]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, float32 (len(texts), dims); a text without a known term gets zeros."""
        vectorizer = _vectorizer(vocabulary={term: place for place, term in enumerate(self.terms)})
        vectorizer.idf_ = self.idf
        return unit_rows(vectorizer.transform(texts) @ self.components.T)

    def about(self) -> dict[str, Any]:
        """Return the terms."""
        return {"kind": self.kind, "terms": self.terms}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights."""
        return {"idf": self.idf, "components": self.components}

    @classmethod
    def read(cls, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return what `about` and `arrays` were taken from; raise ValueError where they do not fit each other."""
        terms, idf, components = about["terms"], arrays["idf"], arrays["components"]
        if not isinstance(terms, list) or len(terms) > _MOST_TERMS or len(set(terms)) < len(terms):
            raise ValueError("its terms are no list of different texts")
        if not all(isinstance(term, str) for term in terms):
            raise ValueError("a term is no text")
        if idf.shape != (len(terms),) or components.ndim != 2 or components.shape[1] != len(terms):
            msg = f"{len(terms)} terms do not go with weights of shape {idf.shape} and {components.shape}"
            raise ValueError(msg)
        if not 1 <= len(components) <= DIMS:
            msg = f"{len(components)} dimensions are not 1 to {DIMS}"
            raise ValueError(msg)
        return cls(tuple(terms), idf, components)


def fit_tfidf(texts: Sequence[str], seed: int) -> TfidfEncoder | None:
    """Fit on the texts that are not empty; return None where they are too few to learn from."""
    known = [text for text in texts if text.strip()]
    if len(known) < FEWEST_TEXTS:
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
    return TfidfEncoder(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_, components)


def _vectorizer(**options: object) -> TfidfVectorizer:
    return cast("TfidfVectorizer", TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", **options))
