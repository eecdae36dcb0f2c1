"""Candidates: which posts are scored. The whole catalogue where it is small enough, else what the retrievers bring."""

import numpy as np

from batch.features.view import View
from batch.neural.scorer import appeal
from batch.tables import Floats, Ints


def pool_at(view: View, *, full_catalogue_posts: int, each: int) -> Ints:
    """Return the indices of the posts to score, the most popular first (which also breaks ties between scores).

    Every existing, unhidden post where there are at most `full_catalogue_posts`; else the union of the best `each`
    posts of every retriever.
    """
    posts = np.flatnonzero(view.exists)
    if len(posts) > full_catalogue_posts:
        brought = [_best(scores, posts, each) for scores in retrievers(view).values()]
        posts = np.unique(np.concatenate(brought))
    fresh = np.nan_to_num(view.dated_s, nan=-np.inf)
    return posts[np.lexsort((posts, -fresh[posts], -view.touches_all[posts], -view.trend[posts]))]


def retrievers(view: View) -> dict[str, Floats]:
    """Score all posts by each retriever, higher is better; name → float64 (n_posts,).

    `similar` brings the neighbours of what is touched now, so that a post beside the trends can still be found;
    `neural`, where the model has a network, what stands high with the users who were active last.
    """
    found = {
        "fresh": np.nan_to_num(view.dated_s, nan=-np.inf),
        "trending_2h": view.decayed(2),
        "trending_24h": view.trend,
        "popular_7d": view.touches(168),
        "popular": view.touches_all,
        "similar": np.asarray(view.trend @ view.similarity),
    }
    if view.network is not None:
        posts = np.flatnonzero(view.exists)
        found["neural"] = np.full(view.n_posts, -np.inf)
        found["neural"][posts] = appeal(view.network, view, posts)
    return found


def _best(scores: Floats, posts: Ints, each: int) -> Ints:
    found = scores[posts]
    if len(posts) <= each:
        return posts
    return posts[np.argsort(-found, kind="stable")[:each]]
