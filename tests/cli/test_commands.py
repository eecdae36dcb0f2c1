"""The light commands, as a user at a shell sees them."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from published import Generation, put_posts
from redis import Redis

from batch.settings import SERVER_SETTINGS, BatchSettings
from cli.main import COMMANDS
from server.settings import ServerSettings

ROOT = Path(__file__).parent.parent.parent


def hourfeed(
    *words: str, folder: Path, env: dict[str, str] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOURFEED_STATE": str(folder / "state"), **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_help_names_every_command_without_importing_them(tmp_path: Path) -> None:
    begun = time.perf_counter()
    result = hourfeed("--help", folder=tmp_path)
    assert result.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout
    imported = subprocess.run(
        [sys.executable, "-c", "import cli.main, sys; print('pandas' in sys.modules, 'lightgbm' in sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.split() == ["False", "False"]
    assert time.perf_counter() - begun < 20


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_help_page(name: str, tmp_path: Path) -> None:
    result = hourfeed(name, "--help", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Usage: python -m cli {name}")


def test_status_and_light_commands_do_not_load_the_heavy_libraries() -> None:
    code = "import sys, cli.status, cli.rollback, cli.show; print({'pandas', 'numpy', 'lightgbm'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_status_without_a_generation_says_what_to_do(tmp_path: Path, redis_url: str) -> None:
    result = hourfeed("status", folder=tmp_path, env={"REDIS_URL": redis_url})
    assert result.returncode == 1
    assert "no generation is live; publish one with `hourfeed batch`" in result.stdout


def test_status_show_and_rollback_on_two_generations(tmp_path: Path, redis_url: str, redis_client: Redis) -> None:
    env = {"REDIS_URL": redis_url}
    put_posts(redis_client, ["5", "6"])
    Generation("old", users={"7": {15: "6 5"}}, manifest={"seq": 1, "state": "superseded"}).publish(redis_client)
    Generation("new", users={"7": {15: "5 6"}}, manifest={"seq": 2, "previous": "old"}).publish(redis_client)

    status = hourfeed("status", folder=tmp_path, env=env)
    assert status.returncode == 0, status.stderr
    assert "live         new" in status.stdout
    assert "superseded" in status.stdout

    shown = hourfeed("show", "user", "7", "--at", "2021-12-20T15:30", "--limit", "2", folder=tmp_path, env=env)
    assert [line.split()[1] for line in shown.stdout.splitlines()[2:]] == ["5", "6"]
    assert "generation new" in shown.stdout

    post = hourfeed("show", "post", "6", folder=tmp_path, env=env)
    assert post.stdout == "post 6, topic topic of 6\ntext of 6\n"
    missing = hourfeed("show", "post", "99", folder=tmp_path, env=env)
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: Redis holds no post '99'")

    back = hourfeed("rollback", folder=tmp_path, env=env)
    assert back.stdout.startswith("generation old is live")
    refused = hourfeed("rollback", "nonsense", folder=tmp_path, env=env)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: generation 'nonsense' cannot be served")


def test_a_look_at_an_empty_state_folder_starts_no_server(tmp_path: Path) -> None:
    for words in (["status"], ["show", "post", "1"], ["rollback"]):
        result = hourfeed(*words, folder=tmp_path)
        assert result.returncode == 1
        assert "holds no embedded Redis; publish with `hourfeed batch`" in result.stderr
    assert not (tmp_path / "state").exists()


def test_a_busy_port_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words in (["serve", "--port", port], ["demo", "--port", port]):
            result = hourfeed(*words, folder=tmp_path)
            assert result.returncode == 1
            assert result.stderr.startswith(f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use")
    assert not (tmp_path / "state").exists()


def test_actions_of_the_environment_replace_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "hourfeed.toml").write_text("[actions]\nimpression = 1\nclap = 3\n")
    code = "from batch.settings import BatchSettings; print(BatchSettings().actions)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def actions(env: dict[str, str]) -> str:
        run = [sys.executable, "-c", code]
        return subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout.strip()

    assert actions(env) == "{'impression': 1, 'clap': 3}"
    assert actions({**env, "HOURFEED_ACTIONS": '{"impression": 2}'}) == "{'impression': 2}"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"HOURFEED_HOURS": "0"}, "error: setting hours = '0': Input should be greater than or equal to 1"),
        ({"HOURFEED_RANKER": "magic"}, "error: setting ranker = 'magic': Input should be 'lightgbm'"),
        ({"REDIS_URL": "http://secret@nowhere"}, "error: REDIS_URL is not a Redis URL"),
        ({"REDIS_URL": "redis://:secret@127.0.0.1:1/0"}, "error: Redis does not answer"),
    ],
)
def test_wrong_settings_are_named_in_a_line_without_secrets(env: dict[str, str], message: str, tmp_path: Path) -> None:
    result = hourfeed("status", folder=tmp_path, env=env)
    assert result.returncode != 0
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


def test_settings_come_from_hourfeed_toml_and_a_typo_in_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "hourfeed.toml").write_text('port = 9000\nhours = 12\n[source.events]\ntable = "clicks"\n')
    code = "from batch.settings import BatchSettings as B; s = B(); print(s.hours, s.source.events.table)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["12", "clicks"]
    (tmp_path / "hourfeed.toml").write_text("huors = 12\n")
    result = hourfeed("status", folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "error: setting huors = 12: Extra inputs are not permitted\n"
    (tmp_path / "hourfeed.toml").write_text('[source.events]\ntable = "a; drop table b"\n')
    assert "is not a table or column name" in hourfeed("status", folder=tmp_path).stderr


def test_the_servers_own_settings_are_known_to_the_batch_by_name() -> None:
    assert set(ServerSettings.model_fields) - set(BatchSettings.model_fields) == SERVER_SETTINGS


def test_a_wrong_time_is_refused_with_an_example(tmp_path: Path) -> None:
    result = hourfeed("batch", "--as-of", "yesterday", folder=tmp_path)
    assert result.returncode == 2
    assert "'yesterday' is not a time; write it as in 2021-12-20T15:00" in result.stderr


@pytest.mark.parametrize("start", [["-m", "cli.system"], ["-m", "cli", "batch"]])
def test_a_missing_libgomp_gets_the_remedy(start: list[str], tmp_path: Path) -> None:
    (tmp_path / "lightgbm.py").write_text(
        "raise OSError('libgomp.so.1: cannot open shared object file: No such file or directory')\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "HOURFEED_STATE": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, *start], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert "apt-get install libgomp1" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plan_counts_rows_and_fails_where_redis_would_evict(
    tmp_path: Path, redis_url: str, redis_client: Redis
) -> None:
    env = {"REDIS_URL": redis_url}
    assert hourfeed("plan", folder=tmp_path, env=env).stderr.startswith("error: there is no table feed_data")
    simulated = hourfeed("simulate", "--users", "20", "--posts", "30", "--days", "2", folder=tmp_path, env=env)
    assert simulated.returncode == 0, simulated.stderr
    plan = hourfeed("plan", folder=tmp_path, env=env)
    assert plan.returncode == 0, plan.stderr
    assert "20 users × 24 hours, 30 posts" in plan.stdout
    assert "  train " in plan.stdout
    assert "  train " not in hourfeed("plan", "--saved-model", folder=tmp_path, env=env).stdout
    redis_client.config_set("maxmemory", 10**9)
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        refused = hourfeed("plan", folder=tmp_path, env=env)
    finally:
        redis_client.config_set("maxmemory", 0)
        redis_client.config_set("maxmemory-policy", "noeviction")
    assert refused.returncode == 1
    assert "maxmemory-policy is allkeys-lru" in refused.stderr
