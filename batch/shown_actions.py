"""Which actions say only that a post was shown: told by the column `target`, which marks what was responded to."""

from collections.abc import Mapping, Set


def shown_actions(targets: Mapping[str, Set[int]]) -> tuple[str, ...]:
    """Return the actions whose `target` is 0 in some rows and 1 in others, in alphabetical order.

    targets : for each action of the log the values of its `target`: 0, 1 and 2 for any other; nulls are none.
    Nobody would note of an action that a user chose whether the user responded. Where the log holds no further action
    that could be the response, there is none.
    """
    shown = sorted(action for action, values in targets.items() if values == {0, 1})
    return tuple(shown) if len(shown) < len(targets) else ()
