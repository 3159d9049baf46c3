"""One browser tab with the page in it, in the words of someone who uses it."""

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page

WAIT_SECONDS = 20
POLL_MS = 50

VIDEO_OF = """
async (name) => {
  const { lobby, call } = relay;
  const person = lobby.others.find((one) => one.name === name);
  const track = person?.tracks.find((one) => one.source === "camera");
  const section = call.sections.find((one) => track && !one.source && one.trackId === track.track_id);
  if (!section || !call.peerConnection) return null;
  const report = await call.peerConnection.getStats();
  const inbound = [...report.values()].find((one) => one.type === "inbound-rtp" && one.mid === section.mid);
  return inbound ? { frames: inbound.framesDecoded, width: inbound.frameWidth ?? 0 } : null;
}
"""

SOUNDS = """
() => relay.call.sections
  .filter((one) => one.trackId?.startsWith("slot:"))
  .map((one) => relay.call.mediaOf(one.trackId))
  .filter((track) => track)
  .map((track) => ears.listen(track))
"""
MIXED = """
(hertz) => {
  const track = relay.call.mediaOf("mix");
  return track ? hertz.map((one) => ears.decibelsAt(track, one)) : null;
}
"""
COUNT_OFFERS = """
globalThis.offersMade = 0;
(() => {
  const real = RTCPeerConnection.prototype.setLocalDescription;
  RTCPeerConnection.prototype.setLocalDescription = function (...description) {
    offersMade += 1;
    return real.apply(this, description);
  };
})();
"""
AUDIBLE_DECIBELS = -45
SILENT_DECIBELS = -80


class CallTab:
    """See the module. `problems` are console errors, uncaught exceptions and breaches of the content security policy."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.tolerated: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))

    def tolerate(self, part: str) -> None:
        """The browser itself reports failed connections; tests that break them say so."""
        self.tolerated.append(part)

    @property
    def unexpected(self) -> list[str]:
        return [problem for problem in self.problems if not any(part in problem for part in self.tolerated)]

    def enter(self, name: str, lobby: str | None = None) -> None:
        """Fill in the form, join, and wait for the call."""
        self.page.fill("#entrance-name", name)
        if lobby is not None:
            self.page.fill("#entrance-lobby", lobby)
        self.page.click("#entrance-join")
        self.wait_inside()

    def wait_inside(self) -> None:
        """Wait until the page shows the call."""
        self.page.wait_for_selector("#call", state="visible", timeout=WAIT_SECONDS * 1000)

    def tile(self, label: str) -> Locator:
        return self.page.locator(".tile", has=self.page.get_by_text(label, exact=True))

    def wait_tile(self, label: str, **attributes: str) -> None:
        """Wait for a tile whose data attributes are these."""
        selector = "".join(f"[data-{name}='{value}']" for name, value in attributes.items())
        found = self.page.locator(f".tile{selector}", has=self.page.get_by_text(label, exact=True))
        found.wait_for(state="attached", timeout=WAIT_SECONDS * 1000)

    def wait_no_tile(self, label: str) -> None:
        self.tile(label).wait_for(state="detached", timeout=WAIT_SECONDS * 1000)

    def wait_state(self, text: str) -> None:
        """Wait for these words in the header's pill."""
        self.wait(lambda: self.page.text_content("#call-state-text") == text, f"state {text!r}")

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until the condition gives something true, and return that."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (value := condition()):
            assert time.monotonic() < deadline, f"in vain: {what}; {self.problems}"
            self.page.wait_for_timeout(POLL_MS)
        return value

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def wait_video_of(self, name: str, growths: int = 2) -> None:
        """Wait until more and more of this person's frames are decoded: first some, then `growths` times more."""
        frames = 0
        for _ in range(growths + 1):
            more = partial(self._more_frames, name, frames)
            frames = self.wait(more, f"more than {frames} frames of {name}")

    def _more_frames(self, name: str, before: int) -> int:
        video = self.evaluate(VIDEO_OF, name)
        return video["frames"] if video and video["width"] > 0 and video["frames"] > before else 0

    def wait_tones(self, hertz: Collection[float], tolerance_hz: float) -> None:
        """Wait until these tones are heard, and no others: each is by far the loudest thing in one audio slot."""
        self.wait(
            lambda: (
                len(heard := self.heard_hertz()) == len(hertz)
                and all(
                    abs(one - wanted) <= tolerance_hz
                    for one, wanted in zip(heard, sorted(hertz), strict=True)
                )
            ),
            f"tones of {hertz}; heard {self.evaluate(SOUNDS)}",
        )

    def wait_mixed_tones(self, hertz: Collection[float]) -> None:
        """Wait until the mix is what is listened to, and these tones are all in it."""
        self.wait(
            lambda: (
                (mixed := self.page.evaluate(MIXED, list(hertz))) is not None
                and min(mixed) > AUDIBLE_DECIBELS
            ),
            f"tones of {hertz} in the mix",
        )

    def heard_hertz(self) -> list[float]:
        """What is heard now, in ascending order."""
        return sorted(
            sound["hertz"] for sound in self.evaluate(SOUNDS) if sound["decibels"] > AUDIBLE_DECIBELS
        )

    def wait_silence(self) -> None:
        self.wait(
            lambda: (
                (sounds := self.evaluate(SOUNDS))
                and all(sound["decibels"] < SILENT_DECIBELS for sound in sounds)
            ),
            "silence",
        )

    def say(self, text: str) -> None:
        """Write a line of chat; opens the chat where it is closed."""
        if not self.page.is_visible("#chat"):
            self.page.click("#control-chat")
        self.page.fill("#chat-text", text)
        self.page.keyboard.press("Enter")

    def wait_line(self, text: str) -> None:
        self.page.locator(".chat-text", has_text=text).wait_for(state="attached", timeout=WAIT_SECONDS * 1000)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.type}: {message.text} ({message.location['url']})")
