from pathlib import Path

import pytest
from published import Generation, put_posts
from redis import Redis
from test_commands import hourfeed

TUESDAY = Generation(
    id="tuesday",
    hours=1,
    users={"7": {0: "1 2"}, "8": {0: "2"}},
    segments={"young": {0: "1"}},
    popular={0: "1 2"},
    manifest={"users": 3, "seq": 4},
)
AS_OF = "20211220T000000"


@pytest.fixture
def env(redis_url: str, redis_client: Redis) -> dict[str, str]:
    put_posts(redis_client, "12")
    TUESDAY.publish(redis_client)
    return {"REDIS_URL": redis_url}


def test_a_generation_goes_from_one_site_to_another(env: dict[str, str], redis_client: Redis, tmp_path: Path) -> None:
    done = hourfeed("export", "moved", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("generation tuesday: 2 users × 1 hours, 2 posts in moved (")
    digest = done.stdout.rpartition(" ")[2]
    assert "note: 1 users of its run have no slates any more: erased since, or expired" in done.stderr

    seen = hourfeed("import", "moved", "--check", folder=tmp_path, env={"REDIS_URL": "redis://127.0.0.1:1"})
    assert seen.returncode == 0, seen.stderr
    assert "exported     tuesday\n" in seen.stdout
    assert "in the file  1 popular, 1 segment, 2 user, 2 post\n" in seen.stdout
    assert f"sha256       {digest}" in seen.stdout

    there = env | {"HOURFEED_PREFIX": "other"}
    done = hourfeed("import", "moved", "--no-live", "--ttl-h", "2", folder=tmp_path, env=there)
    assert done.returncode == 0, done.stderr
    assert f"generation tuesday is here as {AS_OF}-1, a candidate; `hourfeed rollback {AS_OF}-1` makes" in done.stdout
    assert 7200 <= redis_client.ttl(f"other:gen:{AS_OF}-1:user:7") <= 7921
    assert hourfeed("status", folder=tmp_path, env=there).returncode == 1
    done = hourfeed("import", "moved", folder=tmp_path, env=there)
    assert f"generation tuesday is here as {AS_OF}-2, live: 2 users × 1 hours" in done.stdout
    shown = hourfeed("show", "user", "7", "--at", "2021-12-20T00:30", folder=tmp_path, env=there)
    assert [line.split()[1] for line in shown.stdout.splitlines() if "text of" in line] == ["1", "2"]
    assert hourfeed("export", "again", "tuesday", folder=tmp_path, env=env).stdout.endswith(digest)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "moved").read_bytes()


def test_what_cannot_be_exported_or_imported_is_a_line_and_no_stack_trace(
    env: dict[str, str], redis_client: Redis, tmp_path: Path
) -> None:
    (tmp_path / "diary").write_text("dear diary")
    keys = sorted(redis_client.scan_iter())
    for words, said in {
        ("export", "moved", "monday"): "error: generation monday is not there whole; `hourfeed status` lists",
        ("export", "no/such/folder"): "error: nothing was written: [Errno 2] No such file or directory",
        ("import", "diary"): "error: this is no file that `hourfeed export` wrote",
        ("import", "none"): "error: none cannot be read: [Errno 2] No such file or directory",
        ("import", "diary", "--check"): "error: this is no file that `hourfeed export` wrote",
    }.items():
        done = hourfeed(*words, folder=tmp_path, env=env)
        assert done.returncode == 1
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == 1
    assert sorted(redis_client.scan_iter()) == keys
    assert [path.name for path in tmp_path.iterdir()] == ["diary"]
