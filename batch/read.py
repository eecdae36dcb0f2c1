"""Reads users, posts and events as known at the as-of time, out of Postgres or SQLite, into arrays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, Integer, cast, select
from sqlalchemy import Text as SqlText

from batch.errors import BatchError
from batch.event_log.kernels import first_seconds, mark, renumber
from batch.event_log.log import LoggedEvents, LogOptions, read_log
from batch.shown_actions import shown_actions
from batch.tables import Column, Events, Floats, Ids, Posts, Tables, Users
from source.engine import bound_lock_waits, database_errors
from source.existing import ExistingTable, find_table, whole_seconds
from source.quarantine import Quarantine
from source.schema import SourceSchema
from source.tables import KEYS

_NUMBERS = {"integer", "number", "boolean"}
_TEXTS = {"text", "uuid"}
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ReadOptions:
    """The event log, how many unusable events are too many (a share, 0 to 1), and where they are written.

    shown : actions that say only that a post was shown; None: told by the column `target`.
    """

    log: LogOptions
    max_quarantined_share: float
    quarantine_folder: Path
    shown: Sequence[str] | None = None


def read_tables(
    engine: Engine, schema: SourceSchema, as_of: datetime, options: ReadOptions, progress: Callable[[int], None]
) -> Tables:
    """Read everything known before `as_of`; `progress` hears the number of events read so far.

    Raises BatchError where there is no event table or where too much of it is unusable, and SourceError where the
    settings name a table or column that is not there.
    """
    as_of_s = int(as_of.timestamp())
    with database_errors(engine, "reading"), engine.connect() as connection:
        if connection.dialect.name == "postgresql":  # one snapshot for all tables
            connection.execution_options(isolation_level="REPEATABLE READ")
        bound_lock_waits(connection)
        found = {kind: find_table(connection, schema, kind) for kind in KEYS}  # before anything long begins
        events = found["events"]
        if events is None:
            table = schema.events.table
            msg = f"there is no table {table}; load events with `hourfeed load`, or name yours in hourfeed.toml"
            raise BatchError(msg)
        logged = read_log(connection, events, as_of_s, options.log, progress)
        users = _read_users(connection, found["users"])
        posts = _read_posts(connection, found["posts"])
    with Quarantine(options.quarantine_folder).of(f"table {events.name}") as quarantine:
        quarantine.add(logged.bad)
    total = logged.n_bad + len(logged.events)
    if logged.n_bad > options.max_quarantined_share * total:
        msg = (
            f"{logged.n_bad} of {total} events cannot be used, more than max_quarantined_share = "
            f"{options.max_quarantined_share:g} allows; the reasons are in {options.quarantine_folder}"
        )
        raise BatchError(msg)
    shown = shown_actions(logged.responses) if options.shown is None else options.shown
    relevance = {**options.log.actions, **dict.fromkeys(shown, 0)}
    tables = _join(logged, users, posts, relevance, as_of_s)
    few_users = _few_join("users", schema.users.table, tables.users.ids, tables.events.user, users)
    few_posts = _few_join("posts", schema.posts.table, tables.posts.ids, tables.events.post, posts)
    told = _told_shown(shown) if options.shown is None else ()
    return replace(tables, notes=(*logged.notes, *few_users, *few_posts, *told))


def _told_shown(shown: Sequence[str]) -> Iterator[str]:
    for action in shown:
        yield f"{action} is taken for no more than shown, as its target is 0 or 1; the setting `shown` says otherwise"


def _read_users(connection: Connection, users: ExistingTable | None) -> pd.DataFrame | None:
    if users is None:
        return None
    wanted = {
        name: cast(users.columns[name], SqlText) if form.form in _TEXTS else users.columns[name]
        for name, form in users.forms.items()
        if name != "user_id" and form.form in _NUMBERS | _TEXTS
    }
    rows = connection.execute(select(users.id_column("user_id"), *wanted.values()).where(users.has_id("user_id")))
    frame = pd.DataFrame([tuple(row) for row in rows], columns=["user_id", *wanted], dtype=object)
    for name in wanted:
        is_text = users.forms[name].form in _TEXTS
        frame[name] = _texts(frame[name]) if is_text else _numbers(frame[name])
    return _one_each(frame, "user_id")


def _read_posts(connection: Connection, posts: ExistingTable | None) -> pd.DataFrame | None:
    if posts is None:
        return None
    wanted: dict[str, ColumnElement[Any]] = {}
    for name in ("text", "topic", "author_id"):
        if name in posts.columns:
            wanted[name] = cast(posts.columns[name], SqlText)
    if "hidden" in posts.columns:
        wanted["hidden"] = cast(posts.columns["hidden"], Integer)
    if "published_at" in posts.columns:
        wanted["published_at"] = whole_seconds(connection, posts.columns["published_at"])
    rows = connection.execute(select(posts.id_column("post_id"), *wanted.values()).where(posts.has_id("post_id")))
    frame = pd.DataFrame([tuple(row) for row in rows], columns=["post_id", *wanted], dtype=object)
    return _one_each(frame, "post_id")


def _one_each(frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """Keep one row for each id: of several the same one, in whatever order the database gives them."""
    doubled = frame.duplicated(key, keep=False)
    if not doubled.any():
        return frame
    several = frame[doubled]
    order = several.map(repr).sort_values(list(frame.columns)).index
    return pd.concat([frame[~doubled], several.loc[order].drop_duplicates(key, keep="last")])


def _numbers(values: "pd.Series[Any]") -> "pd.Series[float]":
    """Return float64 that float32 can hold, as the ranker's matrix must; what is infinite is missing."""
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    return numbers.where(np.isfinite(numbers)).clip(-_LARGEST, _LARGEST)


def _texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    return values.astype(object).where(values.notna(), "")


def _join(
    logged: LoggedEvents,
    users: pd.DataFrame | None,
    posts: pd.DataFrame | None,
    actions: Mapping[str, int],
    as_of_s: int,
) -> Tables:
    published = _published(posts)
    in_future = published[published >= as_of_s].index
    known_posts = None if posts is None else posts["post_id"][~posts["post_id"].isin(in_future)]
    user_ids, user = _renumbered(logged.events.user, logged.user_ids, None if users is None else users["user_id"])
    post_ids, post = _renumbered(logged.events.post, logged.post_ids, known_posts)
    events = Events(logged.events.at_s, user, post, logged.events.action)
    if (user_ids.dtype, post_ids.dtype) != (logged.user_ids.dtype, logged.post_ids.dtype):
        events = _in_order(events)  # integers that became texts are in another order
    return Tables(
        users=Users(user_ids, _profiles(users, user_ids)),
        posts=_posts(posts, post_ids, published, events),
        events=events,
        actions=tuple(actions),
        relevance=np.array(list(actions.values()), dtype=np.int64),
        as_of_s=as_of_s,
        quarantined=logged.n_bad,
    )


def _renumbered(index: NDArray[np.int32], ids: Ids, of_table: "pd.Series[Any] | None") -> tuple[Ids, NDArray[np.int32]]:
    """Return the ids that there are, ascending, and the index of each event's among them.

    index : events' places in `ids`, which may hold more; the array is overwritten.
    """
    occurs = np.zeros(len(ids), dtype=bool)
    mark(index, occurs)
    there = _all_ids(ids[occurs], of_table)
    place = np.zeros(len(ids), dtype=np.int32)
    place[occurs] = _places(there, ids[occurs])
    renumber(index, place)
    return there, index


def _in_order(events: Events) -> Events:
    order = np.lexsort((events.action, events.post, events.user, events.at_s))
    return Events(events.at_s[order], events.user[order], events.post[order], events.action[order])


def _all_ids(of_events: Ids, of_table: "pd.Series[Any] | None") -> Ids:
    listed = of_table.to_numpy() if of_table is not None else np.zeros(0, dtype=of_events.dtype)
    if of_events.dtype.kind == "i" and all(isinstance(value, int) for value in listed):
        return np.unique(np.concatenate([of_events, listed.astype(np.int64)]))
    return np.array(sorted({*map(str, of_events), *map(str, listed)}), dtype=object)


def _places(ids: Ids, values: "NDArray[Any] | pd.Series[Any]") -> NDArray[np.int64]:
    """Return the index of each value in `ids`, -1 where it is not there."""
    wanted = pd.Index(values) if ids.dtype.kind == "i" else pd.Index([str(value) for value in values], dtype=object)
    return np.asarray(pd.Index(ids).get_indexer(wanted), dtype=np.int64)


def _few_join(
    kind: str, table: str, ids: Ids, of_events: NDArray[np.int32], rows: pd.DataFrame | None
) -> Iterator[str]:
    """Give a note when the table holds fewer than half of the users or posts of the log; an empty one is none."""
    if rows is None or rows.empty:
        return
    listed = np.zeros(len(ids), dtype=bool)
    at = _places(ids, rows.iloc[:, 0])
    listed[at[at >= 0]] = True
    in_log = np.zeros(len(ids), dtype=bool)
    mark(of_events, in_log)
    n_joined, n_logged = int((listed & in_log).sum()), int(in_log.sum())
    if 2 * n_joined < n_logged:
        lost = "; the others count as deleted and are not shown" if kind == "posts" else ""
        yield f"only {n_joined} of {n_logged} {kind} of the log are in {table}{lost}; are the ids of one kind?"


def _profiles(users: pd.DataFrame | None, user_ids: Ids) -> dict[str, Column]:
    if users is None:
        return {}
    at = _places(user_ids, users["user_id"])
    profile: dict[str, Column] = {}
    for name in users.columns[1:]:
        is_number = users[name].dtype.kind == "f"
        column: Column = np.full(len(user_ids), np.nan) if is_number else np.full(len(user_ids), "", dtype=object)
        column[at] = users[name].to_numpy()
        profile[str(name)] = column
    return profile


def _published(posts: pd.DataFrame | None) -> "pd.Series[Any]":
    """Return when each post of the table was published, by id; seconds since 1970, -inf where it does not say."""
    if posts is None:
        return pd.Series([], dtype=np.float64)
    if "published_at" not in posts:
        return pd.Series(np.full(len(posts), -np.inf), index=pd.Index(posts["post_id"]))
    at_s = pd.to_numeric(posts["published_at"]).astype(np.float64).fillna(-np.inf)
    return pd.Series(at_s.to_numpy(dtype=np.float64), index=pd.Index(posts["post_id"]))


def _posts(posts: pd.DataFrame | None, post_ids: Ids, published: "pd.Series[Any]", events: Events) -> Posts:
    n_posts = len(post_ids)
    first_touch = np.full(n_posts, np.inf)
    first_seconds(events.post, events.at_s, first_touch)
    texts = {name: np.full(n_posts, "", dtype=object) for name in ("text", "topic", "author_id")}
    published_s = np.full(n_posts, np.inf)
    hidden = np.full(n_posts, posts is not None and len(posts) > 0)  # what a table of posts lacks was deleted
    if posts is not None:
        at = _places(post_ids, posts["post_id"])
        kept = at >= 0
        for name in texts.keys() & set(posts.columns):
            texts[name][at[kept]] = _texts(posts[name]).to_numpy()[kept]
        hidden[at[kept]] = False
        if "hidden" in posts:
            hidden[at[kept]] = pd.to_numeric(posts["hidden"]).fillna(0).to_numpy()[kept] != 0
        published_s[at[kept]] = published.to_numpy()[kept]
    dated: Floats = np.where(np.isfinite(published_s), np.minimum(published_s, first_touch), first_touch)
    return Posts(
        ids=post_ids,
        text=texts["text"],
        topic=texts["topic"],
        author=texts["author_id"],
        hidden=hidden,
        born_s=np.minimum(published_s, first_touch),
        dated_s=np.where(np.isfinite(dated), dated, np.nan),
    )
