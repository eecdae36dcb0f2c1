"""Features side by side: the columns of a model, gathered by row for training, or left on their axes for scoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.features.registry import FEATURES, Part, columns
from batch.features.user import profile
from batch.features.view import View
from batch.tables import Floats, Ints

PROFILE = "profile."


@dataclass(frozen=True)
class Column:
    """A column of the model: a feature, for the trees of one part. A feature of two parts makes two columns."""

    part: Part
    name: str

    @property
    def axes(self) -> str:
        """Return the axes of the feature."""
        return "user" if self.name.startswith(PROFILE) else FEATURES[self.name].axes


def model_columns(view: View, without: Sequence[str] = ()) -> list[Column]:
    """Return the columns for a new model: all declared features, and the profile; without B where there is no topic.

    Features whose names match a pattern of `without` are left out; raises BatchError for one that matches none.
    """
    several_topics = view.history.n_topics > 2  # the last one stands for "none"
    parts: tuple[Part, ...] = ("A", "B", "C") if several_topics else ("A", "C")
    history = view.history
    has = {
        "shown_known": history.shown_known,
        "network": view.network is not None,
        "clusters": history.clusters is not None,
    }
    found = [Column(part, entry.name) for part in parts for entry in columns(part, **has)]
    found += [Column("A", name) for name in profile(view)]
    names = {*FEATURES, *(column.name for column in found)}
    for pattern in without:
        if not any(fnmatchcase(name, pattern) for name in names):
            msg = f"without_features names {pattern!r}, but no feature is called so; docs/features.md lists them"
            raise BatchError(msg)
    return [column for column in found if not any(fnmatchcase(column.name, pattern) for pattern in without)]


def on_axes(view: View, name: str, bucket: int | None = None) -> Any:
    """Return a feature on its own axes (all but user×post), computed once a view."""
    if name.startswith(PROFILE):
        known = view.once("profile", lambda: profile(view))
        return known.get(name, np.full(view.n_users, np.nan))
    compute = FEATURES[name].compute
    if bucket is None:
        return view.once(name, lambda: compute(view))
    return view.once(f"{name}@{bucket}", lambda: compute(view, bucket))


def gather(view: View, wanted: list[Column], user: Ints, place: Ints, bucket: Ints) -> NDArray[np.float32]:
    """Return the matrix of rows (user index, place in the pool, bucket); float32, shape (n_rows, len(wanted))."""
    rows = _Rows(view, user, place, bucket)
    matrix = np.empty((len(user), len(wanted)), dtype=np.float32)
    for at, column in enumerate(wanted):
        matrix[:, at] = rows.values(column)
    return matrix


class _Rows:
    def __init__(self, view: View, user: Ints, place: Ints, bucket: Ints) -> None:
        self._view = view
        self._user = user
        self._place = place
        self._post = view.pool[place]
        self._topic = view.history.topic[self._post]
        self._segment = view.history.segments.of_user[user]
        self._users, self._user_at = np.unique(user, return_inverse=True)
        self._buckets, self._bucket_at = np.unique(bucket, return_inverse=True)

    def values(self, column: Column) -> Floats:
        view, name = self._view, column.name
        match column.axes:
            case "user":
                found = on_axes(view, name)[self._user]
            case "post":
                found = on_axes(view, name)[self._post]
            case "topic":
                found = on_axes(view, name)[self._topic]
            case "user×topic":
                found = on_axes(view, name)[self._user, self._topic]
            case "segment×post":
                found = on_axes(view, name)[self._segment, self._post]
            case "user×post":
                found = FEATURES[name].compute(view, self._users)[self._user_at, self._place]
            case "bucket":
                found = np.array([on_axes(view, name, int(b)) for b in self._buckets])[self._bucket_at]
            case "topic×bucket":
                found = np.stack([on_axes(view, name, int(b)) for b in self._buckets])[self._bucket_at, self._topic]
            case _:
                found = np.stack([on_axes(view, name, int(b)) for b in self._buckets])[self._bucket_at, self._post]
        return np.asarray(found, dtype=np.float64)
