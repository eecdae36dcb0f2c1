"""The registry: every feature is declared once, with its axes and the parts of the model that may use it.

A tree of the ranker uses features of one part only, so that a score is a sum (docs/decisions/0003):

    score(user, post, bucket) = A(user, post) + B(user, topic, bucket) + C(post, bucket)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Axes = Literal[
    "user", "post", "user×post", "segment×post", "user×topic", "topic", "topic×bucket", "bucket", "post×bucket"
]
Part = Literal["A", "B", "C"]
Compute = Callable[..., Any]

_ALLOWED: dict[Part, set[str]] = {
    "A": {"user", "post", "user×post", "segment×post", "user×topic"},
    "B": {"user×topic", "topic", "topic×bucket", "bucket"},
    "C": {"post", "bucket", "post×bucket"},
}


@dataclass(frozen=True)
class Feature:
    """One feature.

    `compute` takes the point-in-time view; then the bucket where `bucket` is among the axes, or the user indices where
    `user×post` are the axes. It returns float64 (float32 for `user×post`) of the shape that the axes say, NaN for
    missing. One that `needs_shown` is used only where some action means no more than "shown" (relevance 0): a rate
    against what was shown says nothing where only what users chose is known. One that `needs_network` is used only
    where a neural recommender was trained for it, one that `needs_clusters` only where there are clusters of texts. One
    that `needs_choices` is used only where the log holds what users chose, not what they were shown.
    """

    name: str
    axes: Axes
    parts: str
    what: str
    compute: Compute
    needs_shown: bool = False
    needs_network: bool = False
    needs_clusters: bool = False
    needs_choices: bool = False


FEATURES: dict[str, Feature] = {}


def feature(
    name: str,
    axes: Axes,
    parts: str,
    what: str,
    *,
    needs_shown: bool = False,
    needs_clusters: bool = False,
    needs_choices: bool = False,
) -> Callable[[Compute], Compute]:
    """Declare the decorated function as the feature `name`, for the given parts ("A", "AC", …)."""

    def declare(compute: Compute) -> Compute:
        register(
            Feature(
                name,
                axes,
                parts,
                what,
                compute,
                needs_shown=needs_shown,
                needs_clusters=needs_clusters,
                needs_choices=needs_choices,
            )
        )
        return compute

    return declare


def register(entry: Feature) -> None:
    """Add a feature; raise ValueError where its name is taken or its axes do not fit its parts."""
    if entry.name in FEATURES:
        msg = f"feature {entry.name!r} is declared twice"
        raise ValueError(msg)
    for part in entry.parts:
        if part not in get_args(Part) or entry.axes not in _ALLOWED[part]:  # type: ignore[index]
            msg = f"feature {entry.name!r} with axes {entry.axes} cannot be in part {part!r}; see registry._ALLOWED"
            raise ValueError(msg)
    FEATURES[entry.name] = entry


def columns(part: Part, *, shown_known: bool, network: bool = False, clusters: bool = False) -> list[Feature]:
    """Return the features of a part that can be used, in the order of declaration."""
    return [
        entry
        for entry in FEATURES.values()
        if part in entry.parts
        and (shown_known or not entry.needs_shown)
        and not (shown_known and entry.needs_choices)
        and (network or not entry.needs_network)
        and (clusters or not entry.needs_clusters)
    ]
