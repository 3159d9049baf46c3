"""The page that describes the HTTP interface, in a real browser: whole, from our own origin, within the page's policy."""

from urllib.parse import urlsplit

from playwright.sync_api import Browser
from relay_process import RelayProcess

WAIT_MS = 30_000


def test_the_interface_is_described_without_asking_anybody_else(
    server: RelayProcess, browser: Browser
) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    asked: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(f"http://127.0.0.1:{server.port}/docs")
    page.locator(".opblock").first.wait_for(timeout=WAIT_MS)
    assert page.locator(".opblock").count() > 30
    for tag in ("system", "sessions", "lobbies", "bots", "companies", "admin"):
        assert page.locator(f"#operations-tag-{tag}").is_visible()
    health = page.locator(".opblock", has_text="/api/system/live")
    health.locator(".opblock-summary-control").click()
    health.get_by_role("button", name="Try it out").click()
    health.get_by_role("button", name="Execute").click()
    health.locator(".live-responses-table").get_by_text('"live"').first.wait_for(timeout=WAIT_MS)
    assert complaints == []
    # Pictures inside the style sheet have no host.
    assert asked - {""} == {f"127.0.0.1:{server.port}"}
    page.close()
