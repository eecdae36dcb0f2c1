"""Whatever the files in deploy/ start, set and schedule exists."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from tools import DEPLOY, ROOT, run, run_any

from batch.schedule import parse_cron
from batch.settings import BatchSettings
from cli.main import main
from server.settings import ServerSettings

CRONTAB = DEPLOY / "crontab"
CRON_LINE = re.compile(r"^((?:\S+ +){5})(.*)$", re.MULTILINE)


def cron_lines() -> list[tuple[str, str]]:
    """Return (expression, command) of each line of the crontab."""
    text = re.sub(r"^(#.*|[A-Z_]+=.*|)\n", "", CRONTAB.read_text(), flags=re.MULTILINE)
    return [(when.strip(), command.strip()) for when, command in CRON_LINE.findall(text)]


def started() -> list[tuple[str, list[str]]]:
    """Return (file, words after `hourfeed`) for each process that one of the files starts."""
    found = [("Dockerfile", json.loads(words)) for words in re.findall(r"(?m)^CMD (\[.*\])", read("Dockerfile"))]
    for name, service in yaml.safe_load(read("compose.yaml"))["services"].items():
        if service["image"] == "hourfeed":
            found.append((f"compose.yaml: {name}", service["command"]))
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        found += [(unit.name, shlex.split(words)) for words in re.findall(r"(?m)^ExecStart=\S+ (.*)", unit.read_text())]
    for _, command in cron_lines():
        (words,) = re.findall(r"\bhourfeed ([a-z -]+?)(?: 2?>|\))", command)
        found.append(("crontab", shlex.split(words)))
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        found += [(file.name, words.split(", ")) for words in re.findall(r"(?m)^ +args: \[(.*)\]$", file.read_text())]
    return found


def read(name: str) -> str:
    return (DEPLOY / name).read_text()


@pytest.mark.parametrize(("file", "words"), started())
def test_every_command_that_is_started_exists_with_its_options(file: str, words: list[str]) -> None:
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, f"{file}: there is no `hourfeed {words[0]}`"
    command.make_context(words[0], words[1:], resilient_parsing=False)


def test_all_ways_are_among_the_commands() -> None:
    kinds = {re.sub(r".*\.(\w+)$", r"\1", file.partition(":")[0]) for file, _ in started()}
    assert kinds == {"Dockerfile", "yaml", "service", "crontab"}
    assert len(started()) >= 15


def test_every_variable_that_is_set_is_known() -> None:
    known = {"DATABASE_URL", "REDIS_URL", "DRAIN_DATABASE_URL"}
    for kind in (BatchSettings, ServerSettings):
        known |= {f"HOURFEED_{name.upper()}" for name in kind.model_fields}
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".md"]
    used = {
        name
        for path in files
        for name in re.findall(r"\b(HOURFEED_[A-Z_]+|[A-Z_]*DATABASE_URL|REDIS_URL)\b", path.read_text())
    }
    assert "HOURFEED_STATE" in used
    assert used - known == set()


def test_debians_cron_takes_the_crontab() -> None:
    dry_run = "-n" if "dry run" in run_any("crontab", ["-h"]).stderr else "-T"
    run("crontab", dry_run, CRONTAB)


def test_the_lines_of_the_crontab_run_hourfeed_with_the_variables_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text("REDIS_URL=redis://db/0\n")
    for name, text in {
        "hourfeed": '#!/bin/sh\necho "$REDIS_URL $*" >> ran\n',
        "logger": "#!/bin/sh\nexec cat > /dev/null\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for _, command in cron_lines():
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=env, check=True, timeout=30)
    ran = (tmp_path / "ran").read_text().splitlines()
    wanted = [f"redis://db/0 {' '.join(words)}" for file, words in started() if file == "crontab"]
    assert ran == wanted
    assert len(ran) == 4


def test_every_cron_expression_is_one() -> None:
    jobs = yaml.safe_load_all((DEPLOY / "kubernetes/batch.yaml").read_text())
    expressions = [when for when, _ in cron_lines()] + [
        job["spec"]["schedule"] for job in jobs if job["kind"] == "CronJob"
    ]
    assert len(expressions) == 6
    for expression in expressions:
        parse_cron(expression)


def test_the_environment_file_is_read_alike_by_shells_and_by_systemd_and_docker() -> None:
    lines = [line.lstrip("#") for line in read("environment.example").splitlines() if re.match(r"#?[A-Z_]+=", line)]
    assert len(lines) >= 5
    assert all(re.fullmatch(r"[A-Z_]+=[^\s'\"$`\\&;|<>()*?]*", line) for line in lines)


def test_yamllint_finds_nothing() -> None:
    rules = (
        "{extends: default, rules: {line-length: {max: 140}, document-start: disable, "
        "braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}}}"
    )
    files = sorted(path for kind in ("yaml", "yml") for path in DEPLOY.rglob(f"*.{kind}"))
    assert len(files) >= 10
    assert run("yamllint", "--strict", "--config-data", rules, *files, cwd=ROOT) == ""
