"""Vocabularies: the codes of text columns, most frequent value first. They are part of a model, and saved with it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.tables import Floats

MOST_VALUES = 1_000
MOST_TOPICS = 63


@dataclass(frozen=True)
class Vocabularies:
    """Known values by column; a value's code is its place."""

    values: Mapping[str, tuple[str, ...]]

    def codes(self, column: str, texts: NDArray[np.object_]) -> Floats:
        """Return the code of each text, NaN for one that is unknown; float64, shape of `texts`."""
        code = {value: place for place, value in enumerate(self.values.get(column, ()))}
        return np.array([code.get(text, np.nan) for text in texts], dtype=np.float64)

    def size(self, column: str) -> int:
        """Return how many values a column knows."""
        return len(self.values.get(column, ()))


def learn(columns: Mapping[str, NDArray[np.object_]]) -> Vocabularies:
    """Order the values of each column by count, then by value; "" (missing) gets no code."""
    values = {}
    for name, texts in columns.items():
        found, counts = np.unique(texts[texts != ""].astype(str), return_counts=True)
        order = np.lexsort((found, -counts))
        most = MOST_TOPICS if name == "topic" else MOST_VALUES
        values[name] = tuple(str(found[place]) for place in order[:most])
    return Vocabularies(values)
