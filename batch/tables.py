"""What a batch works on: users, posts and events as arrays, as known at the as-of time."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Ids = NDArray[np.int64] | NDArray[np.object_]
"""int64, or str objects; ascending, unique."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Column = Floats | NDArray[np.object_]
"""A profile column: float64 with NaN for missing, or str objects with "" for missing."""

HOUR_S = 3600
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Users:
    """Users by index.

    ids : shape (n_users,); profile : name → Column, each of shape (n_users,).
    """

    ids: Ids
    profile: dict[str, Column]


@dataclass(frozen=True)
class Posts:
    """Posts by index, all arrays of shape (n_posts,).

    text, topic, author : str objects, "" where unknown. hidden : bool.
    born_s : seconds since 1970 from which on the post exists; -inf for one that always did.
    dated_s : seconds since 1970 from which the post's age counts (published, else first touched); NaN for unknown.
    """

    ids: Ids
    text: NDArray[np.object_]
    topic: NDArray[np.object_]
    author: NDArray[np.object_]
    hidden: NDArray[np.bool_]
    born_s: Floats
    dated_s: Floats


@dataclass(frozen=True)
class Events:
    """Events before the as-of time, ascending by (second, user, post, action); arrays of shape (n_events,).

    at_s : int64, seconds since 1970. user, post : int32 indices. action : int8 index into Tables.actions.
    """

    at_s: Ints
    user: NDArray[np.int32]
    post: NDArray[np.int32]
    action: NDArray[np.int8]


@dataclass(frozen=True)
class Tables:
    """All that was read. `actions` are names, `relevance` their grades (int64, shape (n_actions,)).

    notes : what the operator should know of it.
    """

    users: Users
    posts: Posts
    events: Events
    actions: tuple[str, ...]
    relevance: Ints
    as_of_s: int
    quarantined: int
    notes: tuple[str, ...] = ()


def is_number(column: Column) -> "TypeIs[Floats]":
    """Say whether a profile column holds numbers, not texts."""
    return column.dtype.kind == "f"


def id_type(ids: Ids) -> Literal["integer", "string", "uuid"]:
    """Say which kind of ids these are, in the words of the manifest: `uuid` where each is one, in lower case."""
    if ids.dtype.kind == "i":
        return "integer"
    return "uuid" if len(ids) and all(map(_UUID.fullmatch, ids)) else "string"
