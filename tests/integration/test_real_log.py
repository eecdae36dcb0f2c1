"""The main job on a real log: load, batch, serve, with both databases."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from batch.pipeline import run_batch
from batch.settings import BatchSettings
from server.app import create_app
from server.settings import ServerSettings
from slates.codec import ACTED_FIELD, SEGMENT_FIELD
from slates.keys import Keys
from slates.manifest import Manifest
from source.engine import open_engine
from source.load import load_folder

AS_OF = datetime(2016, 9, 1, tzinfo=UTC)


class _Silent:
    def stage(self, name: str, done: int, total: int | None) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def publish(folder: Path, database_url: str | None, state: Path, redis: Redis) -> tuple[Manifest, list[str]]:
    """Load a folder and publish it; return the live manifest and the ids of its users."""
    settings = BatchSettings(state=state, trees=20, train_groups=1500, gate_days=0)
    engine = open_engine(database_url, state)
    try:
        load_folder(folder, engine, settings.source, settings.actions, state / "quarantine")
        manifest = run_batch(settings, engine, redis, AS_OF, _Silent())
        with engine.connect() as connection:
            users = [str(row[0]) for row in connection.exec_driver_sql("SELECT user_id FROM user_data ORDER BY 1")]
    finally:
        engine.dispose()
    return manifest, users


@pytest.mark.data
def test_deskdrop_is_served_whole_and_the_same_from_both_databases(
    data_dir: Path, tmp_path: Path, postgres_url: str, redis_client: Redis
) -> None:
    keys = Keys()
    from_sqlite, users = publish(data_dir / "deskdrop", None, tmp_path / "sqlite", redis_client)
    from_postgres, _ = publish(data_dir / "deskdrop", postgres_url, tmp_path / "postgres", redis_client)
    assert len(users) == from_sqlite.users == 1712
    assert from_sqlite.ranker == from_postgres.ranker == "lightgbm"
    assert from_sqlite.model_digest == from_postgres.model_digest
    for user in users:
        slates = redis_client.hgetall(keys.user(from_sqlite.id, user))
        assert slates == redis_client.hgetall(keys.user(from_postgres.id, user)), user
        assert len(slates.keys() - {SEGMENT_FIELD.encode(), ACTED_FIELD.encode()}) == 24

    client = create_app(ServerSettings(), redis_client).test_client()
    for hour, user in enumerate([*users[::20], "1"]):  # the last one is a stranger
        query = {"id": user, "time": f"2016-09-01T{hour % 24:02}:30:00", "limit": "5"}
        response = client.get("/post/recommendations/", query_string=query)
        posts = response.get_json()
        assert response.status_code == 200, response.text
        assert response.headers["X-Hourfeed-Rung"] == ("popular" if user == "1" else "exact")
        assert len({post["id"] for post in posts}) == 5
        assert all(isinstance(post["id"], int) and post["text"] for post in posts)
    hundred = client.get("/post/recommendations/", query_string={"id": users[0], "limit": "100"}).get_json()
    assert len({post["id"] for post in hundred}) == 100
