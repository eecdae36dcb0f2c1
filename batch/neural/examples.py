"""What the networks learn from: the cases that trees learn from, as users, posts, hours, and rows that join them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batch.cases import Rows
from batch.features.matrix import Column, gather
from batch.features.view import View
from batch.neural.inputs import Matrix, Side, hour_columns, post_columns, post_side, stacked, user_columns, user_side
from batch.tables import Ints


@dataclass(frozen=True)
class Examples:
    """Cases of many moments.

    user : one row a group. post : one row for each post of a moment. hour : float32 (n_rows, n_columns). post_at :
    int64 (n_rows,), row of `post`. grade : int32 (n_rows,), 0: none. begin : int64 (n_groups + 1,), where the rows of
    each group begin.
    """

    user: Side
    post: Side
    hour: Matrix
    post_at: Ints
    grade: NDArray[np.int32]
    begin: Ints


def gather_examples(drawn: Iterable[tuple[View, Rows]], columns: list[Column]) -> Examples | None:
    """Gather what the networks see of the drawn cases; None where nothing was drawn."""
    users, posts, hours, post_at, grades, sizes = [], [], [], [], [], []
    n_posts = 0
    for view, rows in drawn:
        owner = rows.user[np.cumsum(rows.group) - rows.group]
        places, at = np.unique(rows.place, return_inverse=True)
        users.append(user_side(view, user_columns(columns), owner))
        posts.append(post_side(view, post_columns(columns), view.pool[places]))
        hours.append(gather(view, hour_columns(columns), rows.user, rows.place, rows.bucket))
        post_at.append(at + n_posts)
        grades.append(rows.grade)
        sizes.append(rows.group)
        n_posts += len(places)
    if not users:
        return None
    return Examples(
        stacked(users),
        stacked(posts),
        np.concatenate(hours),
        np.concatenate(post_at),
        np.concatenate(grades),
        np.concatenate(([0], np.cumsum(np.concatenate(sizes)))),
    )
