"""The pages as a site: it builds without a warning, and is read in a real Chromium that asks nothing of other hosts."""

import functools
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browsing import Watched, chromium, fits_the_screen, serious, shoot
from fences import PAGES, ROOT
from playwright.sync_api import Browser


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Do what `make site` does, for the pages under `root`."""
    rule = r"^site:.*\n\t@\$\(BIN\)/python (-m sphinx .*) \. site$"
    found = re.search(rule, (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    command = [sys.executable, *shlex.split(found[1]), ".", str(out)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    built = build(ROOT, out)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_every_page_is_in_the_site_and_in_its_menu(site: Path) -> None:
    names = [str(page.relative_to(ROOT).with_suffix(".html")) for page in PAGES]
    assert {"docs/quickstart.html", "docs/operations.html", "deploy/README.html", "CHANGELOG.html"} <= set(names)
    menu = set(re.findall(r'<a class="reference internal" href="([^"#]+)"', (site / "index.html").read_text()))
    assert [name for name in names if not (site / name).is_file()] == []
    assert [name for name in names if name not in menu and name != "README.html"] == []


def test_nothing_in_the_site_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="(https?:)?//|url\(['"]?(https?:)?//""")
    files = [file for file in site.rglob("*") if file.suffix in {".html", ".css"}]
    assert [file.name for file in files if loads.search(file.read_text(encoding="utf-8"))] == []


def test_dead_links_dead_anchors_and_forgotten_pages_are_errors(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/conf.py").write_text((ROOT / "docs/conf.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "README.md").write_text("# One\n\n[a](docs/gone.md) [b](docs/glossary.md#nowhere)\n")
    (tmp_path / "docs/glossary.md").write_text("# Glossary\n")
    (tmp_path / "docs/forgotten.md").write_text("# Forgotten\n")
    built = build(tmp_path, tmp_path / "out")
    assert built.returncode != 0
    for said in ("docs/gone.md", "nowhere", "forgotten.md: WARNING: document isn't included in any toctree"):
        assert said in built.stderr


@pytest.mark.parametrize(
    ("page", "scheme", "width"),
    [
        ("index.html", "light", 1300),
        ("docs/quickstart.html", "dark", 390),
        ("docs/operations.html", "light", 390),
        ("docs/settings.html", "dark", 1300),
    ],
)
def test_a_page_is_readable(url: str, browser: Browser, page: str, scheme: Any, width: int) -> None:
    watched = Watched(browser, color_scheme=scheme, viewport={"width": width, "height": 844})
    watched.page.goto(f"{url}/{page}")
    shoot(watched.page, f"site-{Path(page).stem}-{scheme}-{width}", full_page=False)
    assert serious(watched.page) == []
    assert fits_the_screen(watched.page)
    assert watched.is_clean(url)
    watched.page.context.close()


def test_the_search_finds_a_page_without_any_other_host(url: str, browser: Browser) -> None:
    watched = Watched(browser)
    watched.page.goto(f"{url}/index.html")
    watched.page.get_by_role("textbox", name="Search").first.fill("fencing")
    watched.page.keyboard.press("Enter")
    watched.page.locator("#search-results a", has_text="Glossary").first.click()
    watched.page.get_by_role("heading", name="Glossary").wait_for()
    assert watched.is_clean(url)
    watched.page.context.close()
