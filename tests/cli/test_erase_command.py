from pathlib import Path

from redis import Redis
from test_commands import hourfeed

from slates.erase import erased_users
from slates.generations import live_generation
from slates.keys import Keys

KEYS = Keys()
BATCH = ("batch", "--as-of", "2021-12-20T15:00", "--hours", "2")


def test_an_erased_user_is_gone_everywhere_and_stays_away(tmp_path: Path, redis_client: Redis, redis_url: str) -> None:
    env = {"REDIS_URL": redis_url, "HOURFEED_RANKER": "popular_24h"}

    def run(*words: str) -> str:
        done = hourfeed(*words, folder=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def has_slates(user_id: str) -> bool:
        live = live_generation(redis_client, KEYS)
        assert live is not None
        return bool(redis_client.exists(KEYS.user(live.id, user_id)))

    (tmp_path / "files").mkdir()
    (tmp_path / "files/users.csv").write_text("user_id,gender\n201,0\n202,1\n")
    events = "".join(f"2021-12-20T1{hour}:00:00,{user},{hour},view\n" for hour in range(4) for user in (201, 202))
    (tmp_path / "files/events.csv").write_text("timestamp,user_id,post_id,action\n" + events)
    run("load", "files")
    run(*BATCH)
    assert (has_slates("201"), has_slates("202")) == (True, True)

    said = run("erase", "201")
    assert "removed          4  events in the log" in said
    assert "left             4  rows of feed_data" in said
    assert not has_slates("201")
    said = run(*BATCH)  # which finds the user in the database
    assert "1 erased users are in the database still" in said
    assert (has_slates("201"), erased_users(redis_client, KEYS)) == (False, ["201"])

    said = run("erase", "201", "--database")
    assert "removed          4  rows of feed_data" in said
    assert "removed          1  rows of user_data" in said
    assert "left" not in said
    run(*BATCH)
    assert (has_slates("201"), has_slates("202"), erased_users(redis_client, KEYS)) == (False, True, [])
