"""Every command, link and setting that the pages name is there."""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import parse_qsl

import click
import pytest
from fences import PAGES, ROOT, blocks, shown_manifest, table_column
from werkzeug.datastructures import MultiDict

from cli.main import COMMANDS, main
from server.parameters import Arguments, read_id, read_limit, read_time
from server.recommendations import render_post

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SHELL = {"sh", "bash", "console", ""}


def shell_lines() -> list[tuple[str, str]]:
    """Return (page, line) for each line of a shell block, and for each piece of inline code."""
    found = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for block in blocks(page):
            if block.language in SHELL:
                found += [(name, line) for line in block.text.splitlines()]
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        found += [(name, code.replace("\n", " ")) for code in re.findall(r"`([^`]+)`", prose)]
    return found


def words_after(program: str) -> list[tuple[str, list[str]]]:
    """Return (page, words) for each use of a program, up to the end of its command."""
    found = []
    for page, line in shell_lines():
        for use in re.finditer(rf"(?:^|[\s;&/]){program}(?= |$)", line):
            words = shlex.split(line[use.end() :], comments=True)
            stop = next((at for at, word in enumerate(words) if word in {"|", "&&", ">>", ";"}), len(words))
            found.append((page, words[:stop]))
    return found


@pytest.mark.parametrize(("page", "words"), [use for use in words_after("hourfeed") if use[1]])
def test_every_hourfeed_command_of_the_pages_exists_with_its_options(page: str, words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"{page}: there is no `{name}`"
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word for word in words if word.startswith("--")}
    assert given <= known | {"--help"}, f"{page}: {words}"
    # A placeholder such as DIR stands for no value; all else must parse.
    if words and words != ["--version"] and not any(word.isupper() for word in words):
        command.make_context(command.name, list(words), resilient_parsing=False)


def test_the_pages_use_hourfeed_at_all() -> None:
    assert len([words for _, words in words_after("hourfeed") if words]) > 20


@pytest.mark.parametrize(("page", "words"), words_after("make"))
def test_every_make_target_of_the_pages_exists(page: str, words: list[str]) -> None:
    assert words
    assert words[0] in TARGETS, f"{page}: make {words[0]}"


def bench_uses() -> list[tuple[str, str, list[str]]]:
    """Return (page, module, words) for each benchmark that the pages name, by itself or by its make target."""
    found = []
    makefile = (ROOT / "Makefile").read_text()
    for page, line in shell_lines():
        for module, rest in re.findall(r"python -m (bench\.\w+)([^|;&]*)", line):
            found.append((page, module, rest.split("#")[0].split()))
        for target, words in re.findall(r"make ([\w-]+) ARGS=\"?([^\"]*)\"?", line):
            recipe = re.search(rf"^{target}:.*\n(?:\t.*\n)*?\t.*-m (bench\.\w+).*\$\(ARGS\)", makefile, re.MULTILINE)
            assert recipe, f"{page}: make {target} takes no ARGS"
            found.append((page, recipe[1], words.split()))
    return found


@pytest.mark.parametrize(("page", "module", "words"), bench_uses())
def test_every_benchmark_of_the_pages_exists_with_its_options(page: str, module: str, words: list[str]) -> None:
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    options = {word for word in words if word.startswith("--")}
    unknown = {option for option in options if f'"{option}"' not in source and 'f"--{' not in source}
    assert unknown == set(), f"{page}: {module} does not know {unknown}"


def test_the_readme_names_the_two_commands() -> None:
    assert {"demo", "test"} <= {words[0] for page, words in words_after("make") if page == "README.md"}


def test_the_readme_lists_all_commands_as_help_does() -> None:
    assert table_column(ROOT / "README.md", "Commands") == [f"hourfeed {name}" for name in sorted(COMMANDS)]
    assert table_column(ROOT / "README.md", "Commands", 1) == [COMMANDS[name] for name in sorted(COMMANDS)]


def test_the_readmes_rooms_are_the_packages() -> None:
    rooms = {room.strip("/`") for room in table_column(ROOT / "README.md", "Layout") if "," not in room}
    packages = re.search(r"^packages = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages
    assert rooms == set(json.loads(packages[1]))


def test_the_readmes_answer_has_the_form_of_the_servers() -> None:
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if block.language == "json"]
    posts = json.loads(shown)
    assert len(posts) == 2
    for post in posts:
        made = json.loads(render_post(shown_manifest(), str(post["id"]), post["text"], post["topic"]))
        assert made == post
        assert list(made) == list(post)


def test_the_readmes_curl_asks_what_the_server_understands() -> None:
    (asked,) = [block.text for block in blocks(ROOT / "README.md") if block.text.startswith("curl")]
    match = re.search(r"/post/recommendations/\?(.*)'", asked)
    assert match
    arguments: Arguments = MultiDict(parse_qsl(match[1]))
    assert (read_id(arguments), read_limit(arguments)) == ("1000", 2)
    assert read_time(arguments).utcoffset() is not None


def links() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for page in PAGES:
        text: str = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        found += [(page, target) for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    return found


@pytest.mark.parametrize(("page", "target"), links())
def test_every_link_between_the_pages_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    assert file.exists(), f"{page.name}: {target}"
    if anchor:
        heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}


def test_files_that_the_pages_name_in_inline_code_exist() -> None:
    named = {
        (page, code)
        for page, code in shell_lines()
        if re.fullmatch(r"(batch|slates|server|source|demo|cli|docs|deploy|tests)/[\w/.-]*", code)
    }
    assert len(named) > 5
    assert [entry for entry in named if not (ROOT / entry[1]).exists()] == []
