"""What `bench.serve` compares the server with: a bare Flask app, and the two services that it replaces.

gunicorn runs `hello` with the server's own kind of workers; uvicorn runs `popular` and `scoring`, which are made at
import from DATABASE_URL, as such services are.
"""

import os
from typing import Any

from flask import Flask


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
    """Return FastAPI + LightGBM: every post scored for the user on request, features in a frame as such services do."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    from fastapi import FastAPI
    from sqlalchemy import create_engine

    app, engine = FastAPI(), create_engine(os.environ["DATABASE_URL"])
    users = pd.read_sql("SELECT * FROM user_data", engine).set_index("user_id")
    posts = pd.read_sql("SELECT post_id, text, topic FROM post_text_df", engine)
    user_columns = users.select_dtypes("number")
    numbers: Any = user_columns.to_dict()
    random = np.random.default_rng(0)
    known = pd.DataFrame(random.random((len(posts), 20)), columns=[f"text_{n}" for n in range(20)])
    known["topic"] = posts["topic"].astype("category").cat.codes
    rows = pd.concat([known.sample(5_000, replace=True, random_state=0).reset_index(drop=True)], axis=1)
    for name in user_columns:
        rows[name] = random.choice(user_columns[name].to_numpy(), len(rows))
    rows["hour"] = random.integers(0, 24, len(rows))
    booster = lgb.train(
        {"objective": "binary", "num_leaves": 31, "verbosity": -1, "num_threads": 1},
        lgb.Dataset(rows, label=random.random(len(rows)) < 0.1),
        num_boost_round=200,
    )

    @app.get("/post/recommendations/")
    def recommend(id: int, limit: int = 5) -> list[dict[str, Any]]:  # noqa: A002
        frame = known.copy()
        for name in user_columns:
            frame[name] = numbers[name][id]
        frame["hour"] = 12
        best = np.argsort(-np.asarray(booster.predict(frame[rows.columns])))[:limit]
        found = posts.iloc[best].rename(columns={"post_id": "id"})
        return list(found.to_dict("records"))  # type: ignore[arg-type]

    return app
