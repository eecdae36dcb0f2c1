"""The oracle: the true probability that a user likes a post in a bucket, which no model is ever told."""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from demo.errors import DemoError
from demo.network import Floats, Ints

_DAY_S = 86_400


@dataclass(frozen=True)
class Oracle:
    """All that decides on a like; every array is float64 or int64.

    The log-odds are cell_logit[segment, group] + user_logit + user_taste[user, topic] + post_logit + hour_logit[hour]
    + the growth at that time + fresh_logit · 2^(-age / half-life).

    user_ids, user_segment, user_logit : shape (users,); ids ascending. user_taste : shape (users, topics).
    post_ids, post_group, post_topic, post_logit, published_s : shape (posts,); ids ascending, seconds since 1970.
    cell_logit : shape (segments, groups). hour_logit : shape (24,), by hour of day in UTC.
    growth_s, growth_logit : shape (knots,); linear between knots, flat outside. fresh_logit, half_life_d : shape ().
    """

    user_ids: Ints
    user_segment: Ints
    user_logit: Floats
    user_taste: Floats
    post_ids: Ints
    post_group: Ints
    post_topic: Ints
    post_logit: Floats
    published_s: Ints
    cell_logit: Floats
    hour_logit: Floats
    growth_s: Ints
    growth_logit: Floats
    fresh_logit: Floats
    half_life_d: Floats

    def like_probability(self, user_ids: npt.ArrayLike, post_ids: npt.ArrayLike, buckets: npt.ArrayLike) -> Floats:
        """Return the probability that a view of the post by the user in the bucket is liked, elementwise.

        The arguments broadcast against each other; buckets are hours since 1970, also outside the log. The result
        is 0 in buckets that begin before the post is published: it is not shown there. Raises DemoError on unknown ids.
        """
        users, posts, hours = np.broadcast_arrays(
            _places(self.user_ids, user_ids, "user"), _places(self.post_ids, post_ids, "post"), np.asarray(buckets)
        )
        return self.by_place(users, posts, hours)

    def by_place(self, users: Ints, posts: Ints, buckets: Ints) -> Floats:
        """Answer like `like_probability` for places in user_ids and post_ids, all of one shape."""
        age_d = (buckets * 3_600 - self.published_s[posts]) / _DAY_S
        logit = (
            self.logit_without_cell(users, posts, buckets)
            + self.cell_logit[self.user_segment[users], self.post_group[posts]]
        )
        return np.where(age_d < 0, 0.0, 1 / (1 + np.exp(-logit)))

    def logit_without_cell(self, users: Ints, posts: Ints, buckets: Ints) -> Floats:
        """Return the log-odds without the term of segment and group; places and buckets of one shape."""
        age_d = np.maximum(buckets * 3_600 - self.published_s[posts], 0) / _DAY_S
        logit: Floats = (
            self.user_logit[users]
            + self.user_taste[users, self.post_topic[posts]]
            + self.post_logit[posts]
            + self.hour_logit[buckets % 24]
            + np.interp(buckets * 3_600, self.growth_s, self.growth_logit)
            + self.fresh_logit * np.exp2(-age_d / self.half_life_d)
        )
        return logit

    def save(self, path: Path) -> None:
        """Write the oracle as an .npz file whose bytes depend on its arrays alone."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".part")
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in fields(self):
                # numpy.savez would write the clock into the archive; a plain ZipInfo stands in 1980.
                with archive.open(zipfile.ZipInfo(f"{entry.name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(getattr(self, entry.name)), allow_pickle=False)
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Oracle":
        """Read what `save` wrote; raise DemoError when the file is absent or something else."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls(**{entry.name: archive[entry.name] for entry in fields(cls)})
        except FileNotFoundError as error:
            raise DemoError(f"{path} is not there; `hourfeed simulate` writes it") from error
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise DemoError(f"{path} is not an oracle: {error}; run `hourfeed simulate` again") from error


def _places(known: Ints, asked: npt.ArrayLike, kind: str) -> Ints:
    ids = np.asarray(asked)
    places = np.minimum(np.searchsorted(known, ids), known.size - 1)
    unknown = known[places] != ids
    if unknown.any():
        first = np.atleast_1d(ids)[np.atleast_1d(unknown)][0]
        raise DemoError(
            f"{kind} {first} is not in the simulated network, which has {known[0]} to {known[-1]} with gaps"
        )
    return places
