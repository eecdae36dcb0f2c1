"""The tables of a simulated network of the reference scale, made in memory: no database stands between."""

from typing import Any

import numpy as np
import pandas as pd

from batch.tables import Column, Events, Posts, Tables, Users
from demo.parameters import Parameters
from demo.sessions import events_of_block, make_network

USERS, POSTS, DAYS = 163_205, 7_023, 90


def simulate_tables(parameters: Parameters, *, shown: bool) -> Tables:
    """Return the tables as of the log's end; `shown`: views say only what was shown, else that a user chose."""
    network = make_network(parameters)
    users, posts = network.users.frame(), network.posts.frame(parameters)
    blocks = [events_of_block(network, block) for block in range(network.blocks)]
    log = np.concatenate(blocks)
    blocks.clear()
    log = log[np.lexsort((log["like"], log["post"], log["user"], log["time_s"]))]
    first = np.full(len(posts), np.inf)
    first[log["post"][::-1]] = log["time_s"][::-1]
    dated = np.minimum(first, posts["published_at"].to_numpy(dtype="datetime64[s]").astype(np.float64))
    return Tables(
        users=Users(users["user_id"].to_numpy(), {name: _column(users[name]) for name in users.columns[1:]}),
        posts=Posts(
            ids=posts["post_id"].to_numpy(),
            text=posts["text"].to_numpy(dtype=object),
            topic=posts["topic"].to_numpy(dtype=object),
            author=np.full(len(posts), "", dtype=object),
            hidden=np.zeros(len(posts), dtype=bool),
            born_s=dated,
            dated_s=dated,
        ),
        events=Events(
            at_s=np.ascontiguousarray(log["time_s"]),
            user=np.ascontiguousarray(log["user"]),
            post=np.ascontiguousarray(log["post"]),
            action=log["like"].astype(np.int8),
        ),
        actions=("view", "like"),
        relevance=np.array([0 if shown else 1, 2]),
        as_of_s=parameters.end_s,
        quarantined=0,
    )


def _column(values: "pd.Series[Any]") -> Column:
    if pd.api.types.is_numeric_dtype(values):
        return np.asarray(values, dtype=np.float64)
    return values.to_numpy(dtype=object)
