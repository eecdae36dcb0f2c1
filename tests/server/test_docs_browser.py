"""The page /docs in a real Chromium: it shows every operation, tries one out, and asks nothing of other hosts."""

from pathlib import Path

from browsing import Watched, chromium, fits_the_screen, shoot
from published import Generation, put_posts
from redis import Redis
from test_serving import BIN, port, running

from server.openapi import OPERATIONS

__all__ = ["port"]  # the fixture


def test_it_shows_every_operation_and_tries_one_out(
    redis_url: str, redis_client: Redis, port: int, tmp_path: Path
) -> None:
    put_posts(redis_client, "123")
    Generation(popular=dict.fromkeys(range(24), "1 2 3")).publish(redis_client)
    command, url = [str(BIN / "hourfeed"), "serve", "--port", str(port)], f"http://127.0.0.1:{port}"
    with running(command, port, tmp_path, REDIS_URL=redis_url, HOURFEED_WORKERS="1") as server, chromium() as browser:
        server.wait_for("/healthz", 200)
        watched = Watched(browser, viewport={"width": 390, "height": 844})
        page = watched.page
        page.goto(f"{url}/docs")
        page.locator(".opblock").first.wait_for()
        shown = {
            (block.locator(".opblock-summary-method").inner_text().lower(), block.get_attribute("id") or "")
            for block in page.locator(".opblock").all()
        }
        assert len(shown) == len(OPERATIONS)
        assert {name.rpartition("-")[2] for _, name in shown} == {operation.name for operation in OPERATIONS}
        assert fits_the_screen(page)
        popular = page.locator(".opblock", has_text="/v1/popular")
        popular.locator(".opblock-summary-control").click()
        popular.get_by_role("button", name="Try it out").click()
        popular.locator("tr[data-param-name=topic] input").fill("topic of 2")
        popular.get_by_role("button", name="Execute").click()
        popular.locator(".live-responses-table", has_text='"text of 2"').first.wait_for()
        shoot(page, "api-docs")
        assert watched.is_clean(url)
        assert f"{url}/v1/openapi.json" in watched.asked
        assert any(asked.startswith(f"{url}/v1/popular?") for asked in watched.asked)
