"""Erased users: what a run clears away of them before it reads, and after it has published."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from redis import Redis

from batch.event_log.erase import erase_from_log
from batch.tables import Ids
from slates.erase import settle_erased
from slates.keys import Keys
from source.quarantine import erase_rows


class Cleared(NamedTuple):
    """What went: events of the log, rows of quarantine files."""

    events: int
    set_aside: int


def clear_copies(state: Path, user_ids: Sequence[str]) -> Cleared:
    """Remove users from what the batch keeps in the state folder. What the database still holds, a run reads anew."""
    return Cleared(erase_from_log(state / "event-log", user_ids), erase_rows(state / "quarantine", user_ids))


def settle(redis: Redis, keys: Keys, erased: Sequence[str], there: Ids) -> list[str]:
    """Unlink what was published of erased users meanwhile; return those of `erased` whom the run has read all the same.

    erased : the users that `clear_copies` removed. there : ids of all users that were read.
    """
    still_known = sorted(set(erased).intersection(map(str, there.tolist()))) if erased else []
    settle_erased(redis, keys, erased, still_known)
    return still_known
