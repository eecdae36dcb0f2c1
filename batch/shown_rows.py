"""Which rows are trained on where the log holds what was shown: every post that was shown, responded to or not.

The features are those of a moment, the rows what was shown from then to the next moment: no label is in a feature.
"""

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.tables import HOUR_S, Ints

_MOST_MOMENTS = 4
_LONGEST_STEP_H = 24


def shown_moments(begin_s: int, as_of_s: int) -> list[int]:
    """Return at most four moments from `begin_s` on, oldest first; the last step ends at `as_of_s`.

    A step is a day, or less where the log is short.
    """
    step_s = min(_LONGEST_STEP_H, max(1, (as_of_s - begin_s) // (_MOST_MOMENTS * HOUR_S))) * HOUR_S
    return [at for at in range(as_of_s - _MOST_MOMENTS * step_s, as_of_s, step_s) if at >= begin_s]


def shown_rows(
    view: View, end_s: int, most: int, random: np.random.Generator
) -> tuple[Ints, Ints, Ints, NDArray[np.int32], Ints]:
    """Return user, place in the pool, bucket and grade of the rows from τ to `end_s`, and the sizes of their groups.

    A group is all that a user was shown in a bucket for the first time; at most `most` groups are drawn. The grade is
    that of the user's strongest action on the post before `end_s`, 0 without a response.
    """
    history, log = view.history, view.history.tables.events
    span = np.arange(view.n_events, np.searchsorted(log.at_s, end_s, side="left"))
    pair = log.user[span].astype(np.int64) * view.n_posts + log.post[span]
    pairs, pair_at = np.unique(pair, return_inverse=True)
    strongest = np.zeros(len(pairs), dtype=np.int32)
    np.maximum.at(strongest, pair_at, history.tables.relevance[log.action[span]].astype(np.int32))
    new = history.first[span] & (view.place[log.post[span]] >= 0)
    user, bucket = log.user[span][new].astype(np.int64), log.at_s[span][new] // HOUR_S
    place, grade = view.place[log.post[span]][new], strongest[pair_at][new]
    met, met_at = np.unique(user * 2**31 + bucket, return_inverse=True)
    drawn = np.zeros(len(met), dtype=bool)
    drawn[random.choice(len(met), min(len(met), most), replace=False)] = True
    order = np.argsort(met_at, kind="stable")
    order = order[drawn[met_at[order]]]
    sizes = np.bincount(met_at[order], minlength=len(met))
    return user[order], place[order], bucket[order], grade[order], sizes[sizes > 0]
