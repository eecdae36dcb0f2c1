from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import ServerSettings


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORT", raising=False)


def test_the_defaults_listen_on_this_machine_only() -> None:
    settings = ServerSettings()
    assert (settings.host, settings.port, settings.workers, settings.threads) == ("127.0.0.1", 8000, 2, 4)
    assert (settings.redis_url, settings.prefix, settings.fresh_for_h) == (None, "hourfeed", 26)


def test_arguments_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hourfeed.toml").write_text('port = 1\nhost = "file"\nprefix = "file"\n')
    monkeypatch.setenv("HOURFEED_PORT", "2")
    monkeypatch.setenv("HOURFEED_HOST", "environment")
    settings = ServerSettings(port=3)
    assert (settings.port, settings.host, settings.prefix) == (3, "environment", "file")


def test_no_redis_url_can_be_asked_for_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    assert ServerSettings().redis_url == "redis://elsewhere"
    assert ServerSettings(redis_url=None).redis_url is None


def test_a_platforms_port_is_used_unless_ours_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5000")
    assert ServerSettings().port == 5000
    monkeypatch.setenv("HOURFEED_PORT", "6000")
    assert ServerSettings().port == 6000


def test_what_only_the_batch_knows_is_passed_over() -> None:
    Path("hourfeed.toml").write_text('hours = 48\ntop_n = 30\n[source.users]\ntable = "people"\n[actions]\nlike = 2\n')
    assert (ServerSettings().port, ServerSettings().source.users.table) == (8000, "people")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "x"), ("PREFIX", ""), ("PREFIX", "a b"), ("PREFIX", "{a}"), ("THREADS", "0")],
)
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HOURFEED_{name}", value)
    with pytest.raises(ValidationError):
        ServerSettings()
