"""The obvious way to score: pandas puts features side by side, a row for each user, post and hour; LightGBM predicts.

What depends on the pair is given to it, ready: only merging, predicting and picking are counted.
"""

import time
from collections.abc import Sequence

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from batch.features.matrix import Column, gather
from batch.features.view import View
from batch.model import Model
from batch.tables import Ints

_KEYS = {
    "user": ["user"],
    "post": ["post"],
    "bucket": ["hour"],
    "topic": ["topic"],
    "user×topic": ["user", "topic"],
    "user×post": ["user", "post"],
    "segment×post": ["user", "post"],
    "topic×bucket": ["topic", "hour"],
    "post×bucket": ["post", "hour"],
}


class Obvious:
    """Scores some users' candidates in some hours. Builds the frames first, which is not counted."""

    def __init__(
        self, model: Model, booster: lgb.Booster, view: View, users: Ints, places: Ints, hours: Sequence[int]
    ) -> None:
        self._model, self._booster, self._view = model, booster, view
        self._pairs = pd.DataFrame({"user": np.repeat(users, len(places)), "post": np.tile(places, len(users))})
        self._pairs["topic"] = view.history.topic[view.pool[self._pairs["post"]]]
        self._hours = pd.DataFrame({"hour": np.asarray(hours)})
        self._names = [f"{column.part} {column.name}" for column in model.columns]
        rows = self._pairs.merge(self._hours, how="cross")
        matrix = self._gathered(rows, list(model.columns))
        self._frames = []
        for keys in {tuple(_KEYS[column.axes]) for column in model.columns}:
            chosen = [at for at, column in enumerate(model.columns) if tuple(_KEYS[column.axes]) == keys]
            frame = pd.DataFrame(matrix[:, chosen], columns=[self._names[at] for at in chosen])
            for key in keys:
                frame[key] = rows[key]
            self._frames.append((list(keys), frame.drop_duplicates(list(keys))))
        self._base = self._gathered(rows, [Column("A", model.base)])[:, 0] if model.base else 0.0
        self.rows = len(rows)

    def _gathered(self, rows: pd.DataFrame, columns: list[Column]) -> NDArray[np.float32]:
        return gather(self._view, columns, *(rows[key].to_numpy() for key in ("user", "post", "hour")))

    def run(self, top_n: int) -> tuple[float, pd.DataFrame]:
        """Return seconds of processor time, and the slates: rows (user, hour, post, score), best first in each."""
        begun = time.process_time()
        rows = self._pairs.merge(self._hours, how="cross")
        for keys, frame in self._frames:
            rows = rows.merge(frame, on=keys, how="left")
        predicted = self._booster.predict(rows[self._names].to_numpy(), raw_score=True, num_threads=1)
        rows["score"] = np.asarray(predicted) + self._base
        order = rows.sort_values(["user", "hour", "score"], ascending=[True, True, False], kind="stable")
        best = order.groupby(["user", "hour"], sort=False).head(top_n)
        return time.process_time() - begun, best[["user", "hour", "post", "score"]]


def predicted(
    model: Model, booster: lgb.Booster, view: View, user: Ints, place: Ints, bucket: Ints
) -> NDArray[np.float64]:
    """Return Booster.predict's raw score of rows, on top of the model's base; (n_rows,)."""
    scores = np.asarray(
        booster.predict(gather(view, list(model.columns), user, place, bucket), raw_score=True, num_threads=1)
    )
    return scores + gather(view, [Column("A", model.base)], user, place, bucket)[:, 0] if model.base else scores
