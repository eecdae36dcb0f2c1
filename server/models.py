"""What requests and answers hold, as models, of which the OpenAPI document is made; tests hold answers against it."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Id = Annotated[int | str, Field(description="as the database has it: an integer, or a text", examples=[84])]
_POST: dict[str, Any] = {"id": 84, "text": "The news from Parliament …", "topic": "politics"}
_USER: dict[str, Any] = {"id": 1000, "gender": 1, "age": 24, "country": "Russia", "city": "Moscow", "exp_group": 3}
_FROM: dict[str, Any] = {"generation": "20211220T150000-7", "as_of": "2021-12-20T15:00:00Z", "age_s": 540}


def _like(example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class Post(BaseModel):
    """A post as it is shown."""

    model_config = _like(_POST)
    id: Id
    text: str
    topic: str


class Assigned(BaseModel):
    """A user's posts while an experiment runs."""

    model_config = _like({"exp_group": "test", "recommendations": [_POST]})
    exp_group: str = Field(description="the user's arm")
    recommendations: list[Post]


class FeedItem(Post):
    """A post of a feed."""

    model_config = _like({"rank": 1, "source": "slate", "why": "ranked for this user and this hour", **_POST})
    rank: int = Field(ge=1, description="place in the answer")
    source: Literal["slate", "segment", "popular"] = Field(description="what put it there")
    why: str = Field(description="the same in words")


class Origin(BaseModel):
    """The generation that an answer is from."""

    generation: str
    as_of: AwareDatetime = Field(description="nothing later was known")
    age_s: int = Field(description="seconds since as_of")


class PopularMeta(Origin):
    """Where a list of popular posts is from."""

    bucket: str = Field(description="the hour of the slate, in UTC")
    rung: Literal["exact", "same_hour", "previous", "segment", "popular", "memory", "disk"] = Field(
        description="how far down the ladder of fallbacks the slate was found"
    )
    filled: int = Field(ge=0, description="posts beyond the slate")


class FeedMeta(PopularMeta):
    """Where a user's feed is from."""

    user_id: Id
    segment: str | None = Field(description="the user's segment, null where nothing is known of the profile")
    arm: str = Field("", description="the user's arm, while an experiment runs")


class Feed(BaseModel):
    """A user's feed."""

    model_config = _like(
        {
            "items": [{"rank": 1, "source": "slate", "why": "ranked for this user and this hour", **_POST}],
            "meta": {
                "user_id": 1000,
                "segment": "gender=1&age=23..28",
                **_FROM,
                "bucket": "2021-12-20T15",
                "rung": "exact",
                "filled": 0,
            },
        }
    )
    items: list[FeedItem]
    meta: FeedMeta


class Popular(BaseModel):
    """What everybody gets."""

    model_config = _like(
        {
            "items": [{"rank": 1, "source": "slate", "why": "much touched by everybody", **_POST}],
            "meta": {**_FROM, "bucket": "2021-12-20T15", "rung": "popular", "filled": 0},
        }
    )
    items: list[FeedItem]
    meta: PopularMeta


class SimilarItem(Post):
    """A post that is like another."""

    rank: int = Field(ge=1)


class SimilarMeta(Origin):
    """Where a list of similar posts is from."""

    post_id: Id


class Similar(BaseModel):
    """The posts that are most like one."""

    model_config = _like({"items": [{"rank": 1, **_POST}], "meta": {"post_id": 267, **_FROM}})
    items: list[SimilarItem]
    meta: SimilarMeta


class User(BaseModel):
    """A profile: the id, and every further column of the users' table."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_USER]})
    id: Id


class UserEvent(BaseModel):
    """What a user did with a post."""

    model_config = _like(
        {
            "user_id": 1000,
            "post_id": 84,
            "action": "like",
            "time": "2021-12-20T15:00:00Z",
            "user": _USER,
            "post": _POST,
        }
    )
    user_id: Id
    post_id: Id
    action: str | None
    time: str | None = Field(description="in UTC")
    user: User | None = Field(description="null where there is no profile")
    post: Post | None = Field(description="null where the table of posts has no such row")


class NewEvent(BaseModel):
    """What a user did, for the feed and the database."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"event_id": "5e1f0c7a", "user_id": 1000, "post_id": 84, "action": "like"}]},
    )
    event_id: str = Field(min_length=1, max_length=100, description="another one for every event")
    user_id: Id
    post_id: Id
    action: str = Field(description="one of the setting `actions`")
    time: str | None = Field(None, description="ISO 8601; when the request came in by default")


class EventsTaken(BaseModel):
    """How many events were new, and how many known by their event_id."""

    model_config = _like({"accepted": 1, "known": 0})
    accepted: int = Field(ge=0)
    known: int = Field(ge=0)


class ToBlock(BaseModel):
    """Posts to take down."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"post_ids": [84, 267]}]})
    post_ids: list[Id] = Field(min_length=1, max_length=1000)


class Blocked(BaseModel):
    """The posts that are taken down."""

    model_config = _like({"post_ids": [84, 267]})
    post_ids: list[Id]


class Changed(BaseModel):
    """How many posts were not so before."""

    model_config = _like({"changed": 2})
    changed: int = Field(ge=0)


class Erased(BaseModel):
    """What was removed of a user, and what is left to do."""

    model_config = _like(
        {
            "user_id": "1000",
            "removed": {"slates": 3, "seen": 1, "waiting_events": 0, "waiting_exposures": 0},
            "left": ["rows in the database …"],
        }
    )
    user_id: str
    removed: dict[str, int]
    left: list[str]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether the server can answer, and how old the live generation is."""

    model_config = _like({"status": "ready", "generation": "20211220T150000-7", "age_s": 540, "reason": ""})
    status: Literal["ready", "stale", "degraded", "unready"]
    generation: str | None
    age_s: int | None
    reason: str


class Reason(BaseModel):
    """Why not."""

    reason: str


class Refusal(BaseModel):
    """An answer that is none."""

    model_config = _like({"error": {"reason": "no generation is live yet; run `hourfeed batch`"}})
    error: Reason


class Problem(BaseModel):
    """A parameter that is not understood."""

    field: str
    value: str | None
    allowed: str


class BadParameter(BaseModel):
    """Which parameter is not understood, and what would be."""

    model_config = _like({"error": {"field": "limit", "value": "0", "allowed": "an integer from 1 to 100"}})
    error: Problem


class ItemProblem(Problem):
    """A field of one item of a list; `index` is null where it is about the whole body."""

    index: int | None


class ItemProblems(BaseModel):
    """All that is wrong, the first hundred of them one by one."""

    items: list[ItemProblem]
    count: int


class BadItems(BaseModel):
    """What is wrong with which items."""

    model_config = _like(
        {
            "error": {
                "items": [{"index": 0, "field": "action", "value": "lik", "allowed": "one of view, like"}],
                "count": 1,
            }
        }
    )
    error: ItemProblems
