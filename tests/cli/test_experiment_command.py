import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from batch.errors import BatchError
from cli.main import main
from server.app import EXPOSURES, create_app
from server.settings import ServerSettings
from slates.experiment import ExperimentError, keys_of_arm
from slates.generations import live_generation
from slates.keys import Keys

KEYS = Keys()


def run(*words: str) -> str:
    """Run a command in this process, which has imported what takes commands their time."""
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_an_experiment_from_its_arm_to_its_report(
    tmp_path: Path, redis_client: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("REDIS_URL", redis_url), ("HOURFEED_RANKER", "popular_24h"), ("HOURFEED_STATE", "state")):
        monkeypatch.setenv(name, value)
    now = datetime.now(UTC)
    (tmp_path / "hourfeed.toml").write_text('[arms.test]\nranker = "newest"\ntop_n = 3\n')
    (tmp_path / "files").mkdir()
    rows = "".join(f"{now:%Y-%m-%d}T00:00:00,{user},{post},view\n" for user in range(20) for post in range(user % 3, 5))
    (tmp_path / "files/events.csv").write_text("timestamp,user_id,post_id,action\n" + rows)
    (tmp_path / "files/posts.csv").write_text("post_id,text,topic\n" + "".join(f"{post},t,o\n" for post in range(12)))
    run("load", "files")
    run("batch", "--hours", "2")
    with pytest.raises(BatchError, match="no arm 'other'"):
        run("batch", "--arm", "other")
    halves = ("--arm", "control=0.5", "--arm", "test=0.5")
    with pytest.raises(ExperimentError, match="`hourfeed batch --arm test`"):
        run("experiment", "start", "newer", *halves)
    run("batch", "--hours", "2", "--arm", "test")
    base, arm = live_generation(redis_client, KEYS), live_generation(redis_client, keys_of_arm(KEYS, "test"))
    assert base is not None
    assert arm is not None
    assert [(one.ranker, one.top_n, one.state) for one in (base, arm)] == [
        ("popular_24h", 20, "live"),
        ("newest", 3, "live"),
    ]

    run("experiment", "start", "newer", *halves)
    app = create_app(ServerSettings(open=True), redis_client)
    client, groups = app.test_client(), []
    for user in range(20):
        answer = client.get(f"/post/recommendations/?id={user}&limit=2").json
        assert answer is not None
        groups.append(answer["exp_group"])
        if answer["exp_group"] == "test":
            post = answer["recommendations"][0]["id"]
            like = {"event_id": f"e{user}", "user_id": user, "post_id": post, "action": "like"}
            assert client.post("/v1/events", json=like).status_code == 202
    app.extensions[EXPOSURES].flush()
    assert f"{20 + groups.count('test')} events drained" in run("drain", "--once")
    said = run("experiment", "report", "--json", "report.json")
    figures = json.loads((tmp_path / "report.json").read_text())
    told = {of["arm"]: (of["users"], of["hitrate"]) for of in figures["arms"]}
    assert told == {"control": (groups.count("control"), 0.0), "test": (groups.count("test"), 1.0)}
    assert "test is better than control" in said
    assert "newer has ended" in run("experiment", "stop")
    assert run("experiment", "report", "newer") == said
    with pytest.raises(ExperimentError, match="only newer"):
        run("experiment", "report", "older")
    said = run("batch", "--hours", "2", "--canary", "0.5")
    tried = live_generation(redis_client, keys_of_arm(KEYS, "canary"))
    assert tried is not None
    assert f"generation {tried.id} is live" in said
    assert live_generation(redis_client, KEYS) == base
    assert f"generation {tried.id} is live for all" in run("promote")
    assert (live_generation(redis_client, KEYS) or base).id == tried.id
