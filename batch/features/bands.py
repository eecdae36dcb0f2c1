"""Bands: every profile column cuts the users into a few groups whose responses can be told apart."""

from dataclasses import dataclass

import numpy as np

from batch.features.view import History
from batch.tables import Floats, Ints, is_number

_MOST_BANDS = 32


@dataclass(frozen=True)
class Bands:
    """Groups of users by one column. of_user : int64 (n_users,), from 0 to size - 1; the last is for missing values."""

    of_user: Ints
    size: int


def bands(history: History) -> list[Bands]:
    """Return the bands of each profile column that has two values or more.

    Numbers of many values are cut at quantiles; of texts the most frequent values stand alone and the rest together.
    """
    found = []
    for name, column in history.tables.users.profile.items():
        codes = history.profile[name]
        known = np.unique(codes[~np.isnan(codes)])
        if len(known) > 1:
            found.append(_by_quantile(codes, known) if is_number(column) else _by_value(codes))
    return found


def _by_quantile(values: Floats, known: Floats) -> Bands:
    edges = known[1:]
    if len(known) > _MOST_BANDS:
        inner = np.linspace(0, 1, _MOST_BANDS + 1)[1:-1]
        edges = np.unique(np.nanquantile(values, inner, method="lower"))
    band = np.searchsorted(edges, values, side="right")
    return Bands(np.where(np.isnan(values), len(edges) + 1, band), len(edges) + 2)


def _by_value(codes: Floats) -> Bands:
    rare = np.isnan(codes) | (codes >= _MOST_BANDS)
    return Bands(np.where(rare, _MOST_BANDS, codes).astype(np.int64), _MOST_BANDS + 1)
