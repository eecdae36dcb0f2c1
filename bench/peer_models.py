"""The peers' side: fits models of implicit and RecTools once a day, and answers cases (see peers.py).

    python peer_models.py REQUEST.npz REPLY.npz

Runs where RecTools is installed, and imports nothing of this project.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel, ImplicitItemKNNWrapperModel, PopularModel, PureSVDModel
from scipy import sparse

_FACTORS, _NEIGHBOURS = 64, 100
_SPARE = 100
"""Posts beyond k that are asked for, since some are not to be shown."""
_DAY_S = 24 * 3600

Lists = Any
"""int64 (n_users, n), indices of posts, best first, -1 for none."""
Answer = Callable[[Any, Any], Lists]
"""Takes user indices, and what they had touched by then as CSR rows, 1 a post; returns their lists."""


@dataclass(frozen=True)
class Past:
    """Events before a fit, ascending: at_s, user, post, each (n_events,)."""

    at_s: Any
    user: Any
    post: Any
    shape: tuple[int, int]

    def rows(self, users: Any) -> Any:
        """Return which posts the users touched: CSR (len(users), n_posts), 1 for a post."""
        row = np.full(self.shape[0], -1)
        row[users] = np.arange(len(users))
        mine = np.flatnonzero(row[self.user] >= 0)
        where = (row[self.user[mine]], self.post[mine])
        found = sparse.csr_matrix((np.ones(len(mine), dtype=np.float32), where), shape=(len(users), self.shape[1]))
        found.data[:] = 1
        return found


def implicit_model(make: Callable[[], Any], *, refold: bool = False) -> Callable[[Past], Answer]:
    """Return what fits a model of implicit; `refold`: users' vectors are computed anew from what they have touched."""

    def fit(past: Past) -> Answer:
        model = make()
        model.fit(past.rows(np.arange(past.shape[0])), show_progress=False)
        extra = {"recalculate_user": True} if refold else {}

        def answer(users: Any, touched: Any) -> Lists:
            n = min(_SPARE, past.shape[1])
            posts, scores = model.recommend(users, touched, N=n, filter_already_liked_items=True, **extra)
            if isinstance(model, CosineRecommender | BM25Recommender | TFIDFRecommender):
                posts = np.where(scores > 0, posts, -1)  # what is like nothing that the user touched
            return posts

        return answer

    return fit


def rectools_model(make: Callable[[], Any]) -> Callable[[Past], Answer]:
    """Return what fits a model of RecTools; its lists are those of the fit."""

    def fit(past: Past) -> Answer:
        rows = {Columns.User: past.user, Columns.Item: past.post, Columns.Weight: 1.0}
        table = pd.DataFrame(rows | {Columns.Datetime: pd.to_datetime(past.at_s, unit="s")})
        dataset = Dataset.construct(table.drop_duplicates([Columns.User, Columns.Item], keep="last"))
        model = make()
        model.fit(dataset)
        known = set(np.unique(past.user).tolist())
        kept: dict[int, Any] = {}

        def answer(users: Any, touched: Any) -> Lists:  # noqa: ARG001 - the model has its own of the fit
            new = [user for user in users.tolist() if user in known and user not in kept]
            if new:
                found = model.recommend(users=np.array(new), dataset=dataset, k=_SPARE, filter_viewed=True)
                kept.update({user: part.to_numpy() for user, part in found.groupby(Columns.User)[Columns.Item]})
            lists = np.full((len(users), _SPARE), -1)
            for row, user in enumerate(users.tolist()):
                mine = kept.get(user, np.zeros(0, dtype=np.int64))
                lists[row, : len(mine)] = mine
            return lists

        return answer

    return fit


MODELS: dict[str, Callable[[Past], Answer]] = {
    "implicit CosineRecommender": implicit_model(lambda: CosineRecommender(_NEIGHBOURS, num_threads=1)),
    "implicit BM25Recommender": implicit_model(lambda: BM25Recommender(_NEIGHBOURS, num_threads=1)),
    "implicit ALS": implicit_model(
        lambda: AlternatingLeastSquares(_FACTORS, random_state=0, num_threads=1), refold=True
    ),
    "implicit BPR": implicit_model(lambda: BayesianPersonalizedRanking(_FACTORS, random_state=0, num_threads=1)),
    "RecTools PopularModel, 1 day": rectools_model(lambda: PopularModel(period=timedelta(days=1))),
    "RecTools PopularModel, 7 days": rectools_model(lambda: PopularModel(period=timedelta(days=7))),
    "RecTools ItemKNN, TF-IDF": rectools_model(
        lambda: ImplicitItemKNNWrapperModel(TFIDFRecommender(_NEIGHBOURS, num_threads=1))
    ),
    "RecTools EASE": rectools_model(lambda: EASEModel(recommend_use_gpu_ranking=False)),
    "RecTools PureSVD": rectools_model(
        lambda: PureSVDModel(_FACTORS, recommend_use_gpu_ranking=False)  # its random_state fails with newer SciPy
    ),
}


def main(request: str, reply: str) -> None:
    """Answer all cases by all models."""
    with np.load(request) as given:
        asked = {name: given[name] for name in given.files}
    k, shape = int(asked["k"]), (int(asked["n_users"]), len(asked["hidden"]))
    top = {name: np.full((len(asked["case_user"]), k), -1, dtype=np.int32) for name in MODELS}
    for fit_s in np.unique(asked["case_fit_s"]).tolist():
        past = _past(asked, fit_s, shape)
        answers = {name: fit(past) for name, fit in MODELS.items()}
        spare = _popular(past, fit_s)
        for tau_s in np.unique(asked["case_tau_s"][asked["case_fit_s"] == fit_s]).tolist():
            at = np.flatnonzero(asked["case_tau_s"] == tau_s)
            users, user_at = np.unique(asked["case_user"][at], return_inverse=True)
            touched = _past(asked, tau_s, shape).rows(users)
            wrong = asked["hidden"] | (asked["born_s"] >= tau_s)
            for name, answer in answers.items():
                top[name][at] = _shown(answer(users, touched), touched, wrong, spare, k)[user_at]
    np.savez(reply, **top)  # type: ignore[arg-type] # the stubs take the names for its other parameters


def _past(asked: dict[str, Any], end_s: int, shape: tuple[int, int]) -> Past:
    n = int(np.searchsorted(asked["at_s"], end_s))
    return Past(asked["at_s"][:n], asked["user"][:n], asked["post"][:n], shape)


def _popular(past: Past, fit_s: int) -> Any:
    """Return the posts touched most in the day before: they fill what a model leaves empty."""
    counts = np.bincount(past.post[past.at_s >= fit_s - _DAY_S], minlength=past.shape[1])
    return np.argsort(-counts, kind="stable")[: 2 * _SPARE]


def _shown(lists: Lists, touched: Any, wrong: Any, spare: Any, k: int) -> Any:
    """Return the first k posts of each list that may be shown."""
    shown = np.full((len(lists), k), -1, dtype=np.int32)
    for row, posts in enumerate(lists):
        mine = set(touched.indices[touched.indptr[row] : touched.indptr[row + 1]].tolist())
        wanted = dict.fromkeys([*posts.tolist(), *spare.tolist()])
        kept = [post for post in wanted if post >= 0 and post not in mine and not wrong[post]][:k]
        shown[row, : len(kept)] = kept
    return shown


if __name__ == "__main__":
    main(*sys.argv[1:])
