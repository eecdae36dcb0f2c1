"""Names of the tables and columns that are read: each stands here once, and any of them can be renamed by settings."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")


def _checked(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        msg = (
            f"{name!r} is not a table or column name; allowed are letters, digits, _ and $, up to 63 characters, "
            "with a schema and a dot before it where needed (public.posts)"
        )
        raise ValueError(msg)
    return name


Identifier = Annotated[str, AfterValidator(_checked)]


class _Names(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UserNames(_Names):
    """The table of profiles; every further column is a profile feature by its type."""

    table: Identifier = "user_data"
    user_id: Identifier = "user_id"


class PostNames(_Names):
    """The table of posts; text, topic, published_at, author_id and hidden may be absent."""

    table: Identifier = "post_text_df"
    post_id: Identifier = "post_id"
    text: Identifier = "text"
    topic: Identifier = "topic"
    published_at: Identifier = "published_at"
    author_id: Identifier = "author_id"
    hidden: Identifier = "hidden"


class EventNames(_Names):
    """The log of what users did; `target` (a view that led to a like) may be absent."""

    table: Identifier = "feed_data"
    timestamp: Identifier = "timestamp"
    user_id: Identifier = "user_id"
    post_id: Identifier = "post_id"
    action: Identifier = "action"
    target: Identifier = "target"


class SourceSchema(_Names):
    """The three tables that hourfeed reads. The defaults are the names of the course project it grew out of."""

    users: UserNames = UserNames()
    posts: PostNames = PostNames()
    events: EventNames = EventNames()
