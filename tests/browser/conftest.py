"""One server and one browser for each module here; each test has tabs of its own, each with storage of its own.

Not one for all: while Playwright runs, this thread counts as inside of an asyncio loop, and other tests would not start theirs.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser_tones import EARS, FILE_TONE_HZ, write_tone
from call_tab import WAIT_SECONDS, CallTab
from playwright.sync_api import Browser, sync_playwright
from relay_process import RelayProcess
from severable_proxy import SeverableProxy

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    # Ten pictures a second: two cores encode and decode for all tabs of a test.
    "--use-fake-device-for-media-stream=fps=10",
    "--use-fake-ui-for-media-stream",
    "--auto-accept-this-tab-capture",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)

OpenTab = Callable[..., CallTab]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    process = RelayProcess(tmp_path_factory.mktemp("server"))
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    tone = tmp_path_factory.mktemp("tones") / "tone.wav"
    write_tone(tone, FILE_TONE_HZ)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "these tests need a browser: install the package chromium"
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={tone}"]
        yield playwright.chromium.launch(executable_path=chromium, args=flags)


@pytest.fixture
def proxy(server: RelayProcess) -> Iterator[SeverableProxy]:
    made = SeverableProxy(server.port)
    yield made
    made.close()


@pytest.fixture
def lobby(request: pytest.FixtureRequest) -> str:
    """A lobby that no other test enters."""
    return request.node.name[:64]


@pytest.fixture
def open_tab(server: RelayProcess, browser: Browser, tmp_path: Path) -> Iterator[OpenTab]:
    """Opens tabs, and looks afterwards whether any of them had reason to complain."""
    tabs: list[CallTab] = []

    def open_(path: str = "/", *, port: int = 0, scripts: tuple[str, ...] = (), **options: object) -> CallTab:
        context = browser.new_context(viewport={"width": 1100, "height": 720}, **options)
        context.set_default_timeout(WAIT_SECONDS * 1000)
        context.grant_permissions(["camera", "microphone", "clipboard-read", "clipboard-write"])
        for script in (EARS, *scripts):
            context.add_init_script(script)
        tab = CallTab(context.new_page())
        tabs.append(tab)
        tab.page.goto(f"http://127.0.0.1:{port or server.port}{path}")
        return tab

    yield open_
    for number, tab in enumerate(tabs):
        if not tab.page.is_closed():
            tab.page.screenshot(path=tmp_path / f"tab-{number}.png")
        tab.page.context.close()
    assert [tab.unexpected for tab in tabs] == [[] for _ in tabs]
