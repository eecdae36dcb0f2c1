"""What the networks see of users, posts and hours, as of τ: features of the registry, texts, and who touched what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.features.crowd import crowd_of_posts, crowd_of_users, unit
from batch.features.matrix import Column, on_axes
from batch.features.view import View
from batch.tables import Ints

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """Users, or posts, as one of the towers sees them; float32, one row each.

    numbers : features, NaN for missing. plain : what is taken as it is. crowd : who stands behind. text : unit rows,
    zeros without text; no columns where there is no text at all.
    """

    numbers: Matrix
    plain: Matrix
    crowd: Matrix
    text: Matrix

    def rows(self, chosen: Ints) -> "Side":
        """Return some rows."""
        return Side(self.numbers[chosen], self.plain[chosen], self.crowd[chosen], self.text[chosen])


def stacked(sides: list[Side]) -> Side:
    """Lay sides end to end."""
    return Side(*(np.concatenate([getattr(s, name) for s in sides]) for name in ("numbers", "plain", "crowd", "text")))


def user_columns(columns: Sequence[Column]) -> list[Column]:
    """Return those columns of a model that the user tower sees."""
    return [column for column in columns if column.part == "A" and column.axes == "user"]


def post_columns(columns: Sequence[Column]) -> list[Column]:
    """Return those columns of a model that the post tower sees; topic and text it sees whole, not as codes."""
    return [
        column
        for column in columns
        if column.part == "A" and column.axes == "post" and not column.name.startswith(("topic", "text_"))
    ]


def hour_columns(columns: Sequence[Column]) -> list[Column]:
    """Return those columns of a model that the network of the hour sees."""
    return [column for column in columns if column.part == "C"]


def user_side(view: View, columns: Sequence[Column], users: Ints) -> Side:
    """Return what is known of `users` at τ."""
    history = view.history
    lift = np.log(np.asarray(on_axes(view, "topic_lift"))[users]) if history.n_topics > 2 else np.zeros((len(users), 0))
    text = _no_text(len(users)) if history.text is None else _taste_of(view, users, history.text)
    return Side(_on_axis(view, columns, users), lift.astype(np.float32), crowd_of_users(view, users), text)


def post_side(view: View, columns: Sequence[Column], posts: Ints) -> Side:
    """Return what is known of `posts` at τ."""
    history = view.history
    topics = np.arange(history.n_topics if history.n_topics > 2 else 0)
    is_of = (history.topic[posts][:, None] == topics).astype(np.float32)
    text = _no_text(len(posts)) if history.text is None else history.text[posts]
    return Side(_on_axis(view, columns, posts), is_of, crowd_of_posts(view)[posts], text)


def hour_numbers(view: View, columns: Sequence[Column], posts: Ints, bucket: int) -> Matrix:
    """Return the features of `posts` in a bucket; float32, shape (len(posts), len(columns))."""
    out = np.empty((len(posts), len(columns)), dtype=np.float32)
    for at, column in enumerate(columns):
        known = on_axes(view, column.name, bucket if "bucket" in column.axes else None)
        out[:, at] = known if column.axes == "bucket" else np.asarray(known)[posts]
    return out


def _on_axis(view: View, columns: Sequence[Column], chosen: Ints) -> Matrix:
    out = np.empty((len(chosen), len(columns)), dtype=np.float32)
    for at, column in enumerate(columns):
        out[:, at] = np.asarray(on_axes(view, column.name))[chosen]
    return out


def _taste_of(view: View, users: Ints, text: Matrix) -> Matrix:
    return unit(np.asarray(view.taste(users) @ text, dtype=np.float32))


def _no_text(rows: int) -> Matrix:
    return np.zeros((rows, 0), dtype=np.float32)
