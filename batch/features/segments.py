"""Segments: users grouped by profile, for trends within a group and for slates of users without their own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.tables import Floats, Users, is_number

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
    labels = np.full(len(users.ids), "", dtype=object)
    n_groups = 1
    for name, column in users.profile.items():
        banded = _bands(name, column) if is_number(column) else _values(name, column)
        n_values = len(set(banded) - {""})
        if n_values < 2 or n_groups * n_values > MOST_SEGMENTS:
            continue
        labels = np.array([_join(left, right) for left, right in zip(labels, banded, strict=True)], dtype=object)
        n_groups *= n_values
    names = sorted(set(labels) - {""})
    code = {name: place for place, name in enumerate(names)}
    return Segments(tuple(names), np.array([code.get(label, -1) for label in labels], dtype=np.int64))


def _join(left: str, right: str) -> str:
    return f"{left}&{right}" if left and right else left or right


def _values(name: str, column: NDArray[np.object_]) -> list[str]:
    found = set(column) - {""}
    return [f"{name}={text}" if text else "" for text in column] if len(found) <= _MOST_VALUES else [""] * len(column)


def _bands(name: str, column: Floats) -> list[str]:
    known = column[~np.isnan(column)]
    found = np.unique(known)
    if len(found) <= _MOST_VALUES:
        return ["" if np.isnan(value) else f"{name}={value:g}" for value in column]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BANDS + 1)[1:-1], method="lower"))
    band = np.searchsorted(edges, column, side="right")
    below = ["", *(f"{edge:g}" for edge in edges)]
    above = [*(f"{edge:g}" for edge in edges), ""]
    return [
        "" if np.isnan(value) else f"{name}={below[place]}..{above[place]}"
        for value, place in zip(column, band, strict=True)
    ]
