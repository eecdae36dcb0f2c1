"""Settings of the server: read once, at the entry, from the environment and hourfeed.toml."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class ServerSettings(BaseSettings):
    """Every setting of the server, with its default. Environment variables win over `hourfeed.toml`.

    The file is shared with the batch, so what this class does not know there is passed over.
    """

    model_config = SettingsConfigDict(
        env_prefix="HOURFEED_",
        toml_file="hourfeed.toml",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
    )

    redis_url: str | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="where the slates are; redis://127.0.0.1:6379/0 without it; redis+cluster://… is a Redis Cluster",
    )
    redis_timeout_s: float = Field(
        0.5, gt=0, le=60, description="how long a request waits for Redis before it does without"
    )
    prefix: str = Field("hourfeed", pattern=r"^[^\s{}]+$", description="first part of every Redis key")
    state: Path = Field(Path(".hourfeed"), description="folder of the embedded Redis of `hourfeed serve`")

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all of the machine's")
    port: int = Field(
        8000, ge=1, le=65_535, validation_alias=AliasChoices("HOURFEED_PORT", "PORT"), description="port to listen on"
    )
    workers: int = Field(2, ge=1, le=256, description="processes that answer")
    threads: int = Field(4, ge=1, le=256, description="threads in each of them")

    pointer_ttl_s: float = Field(
        1.0, ge=0, le=60, description="how long a process believes it knows the live generation"
    )
    fresh_for_h: float = Field(
        26, gt=0, description="age of the live generation's as-of up to which /readyz says ready"
    )

    actions: dict[str, int] = Field(
        {"view": 1, "like": 2, "bookmark": 2, "comment": 2, "follow": 2, "share": 2},
        description="the known actions of an event, as the batch knows them",
    )
    acted_on: tuple[str, ...] | None = Field(
        None, description="actions after which a post is gone from the user's feed at once; all known ones by default"
    )
    seen_ttl_h: float = Field(
        72, gt=0, le=8760, description="hours for which a posted event hides its post, until slates know of it"
    )
    events_waiting: int = Field(
        1_000_000, ge=1, description="posted events that may wait for the database; further ones are refused with 503"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, then hourfeed.toml in the working folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
