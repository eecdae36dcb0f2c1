"""What `bench.serve` compares the server with: a bare Flask app, and the two services that it replaces.

gunicorn runs `hello` with the server's own kind of workers; uvicorn runs `popular` and `scoring`, which are made at
import from DATABASE_URL, as such services are.
"""

import os
from typing import Any

from flask import Flask

_OF_USER, _TRAINED_ON = 8, 5_000
"""Of `scoring`: features that are set on request, and rows that its trees are grown on."""


def hello() -> Flask:
    """Return the least that Flask can do."""
    app = Flask(__name__, static_folder=None)

    @app.get("/hello")
    def say() -> str:
        return "hello"

    return app


def popular() -> Any:
    """Return FastAPI + SQLAlchemy + Postgres: the posts with most likes, counted on request."""
    from fastapi import FastAPI
    from sqlalchemy import create_engine, text

    app, engine = FastAPI(), create_engine(os.environ["DATABASE_URL"])
    query = text(
        "SELECT p.post_id AS id, p.text, p.topic FROM post_text_df p JOIN"
        " (SELECT post_id, count(*) AS likes FROM feed_data WHERE action = 'like'"
        " GROUP BY post_id ORDER BY likes DESC LIMIT :n) best USING (post_id) ORDER BY likes DESC"
    )

    @app.get("/post/recommendations/")
    def recommend(id: int, limit: int = 5) -> list[dict[str, Any]]:  # noqa: A002, ARG001 - as the other services have it
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(query, {"n": limit}).mappings()]

    return app


def scoring() -> Any:
    """Return FastAPI + LightGBM: every post scored for the user on request, by as many trees as the batch trains.

    As a careful engineer writes it: one float32 matrix of the posts, prepared; a request copies it, sets what is the
    user's, and calls `Booster.predict` once, on one thread. What is of a user and a post together is in the matrix too,
    as if it cost nothing to find. Values and labels are drawn: time is the same whatever the trees have learnt.
    """
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    from fastapi import FastAPI
    from sqlalchemy import create_engine

    import batch.features  # noqa: F401 - fills the registry
    from batch.features.registry import FEATURES
    from batch.settings import BatchSettings

    app, engine = FastAPI(), create_engine(os.environ["DATABASE_URL"])
    posts = pd.read_sql("SELECT post_id AS id, text, topic FROM post_text_df", engine).to_dict("records")
    user_ids = pd.read_sql("SELECT user_id FROM user_data", engine)["user_id"]
    random, settings = np.random.default_rng(0), BatchSettings.model_fields
    rows = random.random((_TRAINED_ON, len(FEATURES)))
    booster = lgb.train(
        {"objective": "binary", "num_leaves": settings["leaves"].default, "verbosity": -1, "num_threads": 1},
        lgb.Dataset(rows, label=random.random(_TRAINED_ON) < 0.1),
        num_boost_round=settings["trees"].default,
    )
    matrix = random.random((len(posts), len(FEATURES)), dtype=np.float32)
    of_user = dict(zip(user_ids, random.random((len(user_ids), _OF_USER), dtype=np.float32), strict=True))

    @app.get("/post/recommendations/")
    def recommend(id: int, limit: int = 5) -> list[dict[str, Any]]:  # noqa: A002
        rows = matrix.copy()
        rows[:, :_OF_USER] = of_user[id]
        scores = np.asarray(booster.predict(rows, num_threads=1))
        return [posts[place] for place in np.argsort(-scores)[:limit]]

    return app
