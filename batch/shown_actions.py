"""Which actions say only that a post was shown: told by the column `target`, which marks what was responded to."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Integer, SQLColumnExpression, Text, cast, func, select

from source.existing import ExistingTable

_FLAGS = {"integer", "boolean"}


def find_shown_actions(
    connection: Connection, events: ExistingTable, past: ColumnElement[bool], actions: Collection[str]
) -> tuple[str, ...]:
    """Return the actions whose `target` is 0 in some of the rows of `past` and 1 in others, in alphabetical order.

    Nobody would note of an action that a user chose whether the user responded. Without the column, and where the log
    holds no further action that could be the response, there is none.
    """
    if "target" not in events.columns or events.forms["target"].form not in _FLAGS:
        return ()
    action: SQLColumnExpression[str] = cast(events.columns["action"], Text)
    target = cast(events.columns["target"], Integer)
    query = select(action, func.min(target), func.max(target)).where(past, action.in_(sorted(actions))).group_by(action)
    ranges = {name: (low, high) for name, low, high in connection.execute(query)}
    shown = sorted(name for name, (low, high) in ranges.items() if low == 0 and high == 1)
    return tuple(shown) if len(shown) < len(ranges) else ()
