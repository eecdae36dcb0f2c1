"""Segments: users grouped by profile, for trends within a group and for slates of users without their own."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from batch.tables import Floats, Ints, Users, is_number

MOST_SEGMENTS = 64
_MOST_VALUES = 12
_BANDS = 4


@dataclass(frozen=True)
class Segments:
    """Groups of users. names : one a group. of_user : int64, (n_users,), -1 for users of whom no profile is known."""

    names: tuple[str, ...]
    of_user: NDArray[np.int64]


def build_segments(users: Users) -> Segments:
    """Cross profile columns, in the order of the table, for as long as at most MOST_SEGMENTS groups arise.

    Numbers of many values are cut into quarters; texts of more than a dozen values are left out.
    """
    labels, of_user = [""], np.zeros(len(users.ids), dtype=np.int64)
    n_groups = 1
    for name, column in users.profile.items():
        values, code = _bands(name, column) if is_number(column) else _values(name, column)
        n_values = len(set(values) - {""})
        if n_values < 2 or n_groups * n_values > MOST_SEGMENTS:
            continue
        crossed, of_user = np.unique(of_user * len(values) + code, return_inverse=True)
        labels = [_join(labels[pair // len(values)], values[pair % len(values)]) for pair in crossed.tolist()]
        n_groups *= n_values
    names = sorted(set(labels) - {""})
    place_of = {name: place for place, name in enumerate(names)}
    places = np.array([place_of.get(label, -1) for label in labels], dtype=np.int64)
    return Segments(tuple(names), places[of_user])


def _join(left: str, right: str) -> str:
    return f"{left}&{right}" if left and right else left or right


def _values(name: str, column: NDArray[np.object_]) -> tuple[list[str], Ints]:
    """Return the labels of a column, "" for what is not known, and which of them each user has; int64 (n_users,)."""
    code, found = pd.factorize(column)
    if (found != "").sum() > _MOST_VALUES:
        return [""], np.zeros(len(column), dtype=np.int64)
    return [f"{name}={text}" if text else "" for text in found], code


def _bands(name: str, column: Floats) -> tuple[list[str], Ints]:
    """Return what `_values` does of numbers."""
    found, code = np.unique(column + 0.0, return_inverse=True)  # -0.0 is 0
    if (~np.isnan(found)).sum() <= _MOST_VALUES:
        return ["" if np.isnan(value) else f"{name}={value:g}" for value in found], code
    known = ~np.isnan(column)
    edges = np.unique(np.quantile(column[known], np.linspace(0, 1, _BANDS + 1)[1:-1], method="lower"))
    band = np.where(known, np.searchsorted(edges, column, side="right"), len(edges) + 1)
    ends = ["", *(f"{edge:g}" for edge in edges), ""]
    labels = [*(f"{name}={below}..{above}" for below, above in pairwise(ends)), ""]
    there, code = np.unique(band, return_inverse=True)
    return [labels[place] for place in there], code
