"""What comes from outside cannot speak to the operator's terminal, nor begin a line of a log."""

import logging

import pytest
from click.testing import CliRunner
from published import Generation
from redis import Redis

from cli.main import main
from cli.plain import PlainFormatter, plain, plain_lines
from slates.keys import Keys, escape_id

CLEAR = "\x1b[2J\x1b]0;owned\x07"
SHOWN = r"\x1b[2J\x1b]0;owned\x07"


def test_escape_codes_are_shown_not_obeyed() -> None:
    assert plain(f"a{CLEAR}b") == f"a{SHOWN}b"
    assert plain("one\ntwo\ttab\r") == r"one\x0atwo\x09tab\x0d"
    assert plain("\x9b31m\x7f\u202egpj.exe\u2028\ud800") == r"\x9b31m\x7f\u202egpj.exe\u2028\ud800"
    assert plain("Ünïcode – 漢字 🙂") == "Ünïcode – 漢字 🙂"
    assert plain_lines("one\ntwo\ttab\r") == "one\ntwo\ttab\\x0d"


def test_warnings_of_commands_are_plain() -> None:
    record = logging.LogRecord("batch", logging.WARNING, "", 0, "refused: %s", (CLEAR,), None)
    assert PlainFormatter().format(record) == f"refused: {SHOWN}"


@pytest.fixture
def shell(redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("REDIS_URL", redis_url)
    keys = Keys()
    Generation(
        users={f"u{CLEAR}": {12: escape_id(f"p{CLEAR}")}},
        popular={12: "5"},
        manifest={"ranker": f"popular{CLEAR}", "config_digest": "ab\nlive         forged"},
    ).publish(redis_client)
    redis_client.hset(keys.post(f"p{CLEAR}"), mapping={"text": f"text{CLEAR}\nline", "topic": f"topic{CLEAR}"})
    return CliRunner()


@pytest.mark.parametrize(
    "words",
    [
        ["show", "user", f"u{CLEAR}", "--at", "2021-12-20T12"],
        ["show", "post", f"p{CLEAR}"],
        ["status"],
    ],
)
def test_commands_print_what_redis_holds_without_obeying_it(shell: CliRunner, words: list[str]) -> None:
    printed = shell.invoke(main, words, catch_exceptions=False)
    assert printed.exit_code == 0
    assert SHOWN in printed.output
    assert not {"\x1b", "\x07"} & set(printed.output)
    assert not any(line.startswith("live         forged") for line in printed.output.splitlines())
