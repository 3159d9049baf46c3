"""The page before the call: it explains, remembers, checks, and lets everybody in."""

import re

import pytest

NO_DEVICES = """
navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("denied by the test", "NotAllowedError"); };
"""
NO_CAMERA = """
(() => {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    if (constraints.video) throw new DOMException("none here", "NotFoundError");
    return real(constraints);
  };
})();
"""


def test_page_comes_with_a_strict_policy_and_without_complaints(open_tab):
    tab = open_tab()
    response = tab.page.reload()
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert tab.page.title() == "Trio Relay"
    tab.page.wait_for_selector("#preview-video", state="visible")
    tab.wait(lambda: tab.evaluate("document.getElementById('preview-video').videoWidth"), "preview picture")


@pytest.mark.parametrize("path", ["/#lobby=the+garden", "/?lobby=the+garden"])
def test_shared_link_fills_in_the_lobby(open_tab, path):
    assert open_tab(path).page.input_value("#entrance-lobby") == "the garden"


WRONG = (
    ("name", "", "enter your name"),
    ("name", "   ", "enter your name"),
    ("name", "x" * 65, "at most 64"),
    ("lobby", "", "enter the name of a lobby"),
    ("lobby", "x" * 65, "at most 64"),
)


def test_form_says_what_is_wrong_beside_the_field(open_tab):
    tab = open_tab()
    for field, value, expected in WRONG:
        tab.page.fill("#entrance-name", "Ada")
        tab.page.fill("#entrance-lobby", "garden")
        tab.page.fill(f"#entrance-{field}", value)
        tab.page.click("#entrance-join")
        assert expected in tab.page.text_content(f"#entrance-{field}-error")
        assert tab.page.get_attribute(f"#entrance-{field}", "aria-invalid") == "true"
        assert tab.evaluate("document.activeElement.id") == f"entrance-{field}"
        tab.page.fill(f"#entrance-{field}", "fine")
        assert tab.page.text_content(f"#entrance-{field}-error") == ""


def test_form_shows_what_the_server_refuses(open_tab):
    tab = open_tab()
    tab.page.fill("#entrance-name", "A\u202eda")  # an override that would turn the text after it
    tab.page.fill("#entrance-lobby", "garden")
    tab.page.click("#entrance-join")
    tab.wait(
        lambda: "control character" in tab.page.text_content("#entrance-name-error"), "the server's refusal"
    )
    assert tab.page.is_enabled("#entrance-join")


def test_name_and_lobby_are_remembered(open_tab, lobby):
    tab = open_tab()
    tab.enter("Ada", lobby)
    tab.page.click("#control-leave")
    tab.page.goto(tab.page.url.split("#")[0])
    assert tab.page.input_value("#entrance-name") == "Ada"
    assert tab.page.input_value("#entrance-lobby") == lobby


def test_blocked_devices_are_explained_and_keep_nobody_out(open_tab, lobby):
    tab = open_tab(scripts=(NO_DEVICES,))
    problems = tab.page.locator("#preview-problems")
    problems.get_by_text("Camera and microphone are blocked").wait_for()
    tab.enter("Ada Lovelace", lobby)
    tab.wait_tile("Ada Lovelace (you)", muted="true", video="false")
    assert tab.tile("Ada Lovelace (you)").locator(".avatar").text_content() == "AL"
    assert tab.page.get_attribute("#control-camera", "data-problem") == "true"


def test_missing_camera_does_not_take_the_microphone_along(open_tab, lobby):
    tab = open_tab(scripts=(NO_CAMERA,))
    tab.page.locator("#preview-problems").get_by_text("No camera was found").wait_for()
    tab.enter("Ada", lobby)
    tab.wait_tile("Ada (you)", muted="false", video="false")


def test_what_is_turned_off_before_the_call_stays_off(open_tab, lobby):
    tab = open_tab()
    tab.page.wait_for_selector("#preview-video", state="visible")
    tab.page.click("#preview-camera")
    tab.page.click("#preview-microphone")
    tab.page.wait_for_selector("#preview-video", state="hidden")
    tab.enter("Ada", lobby)
    tab.wait_tile("Ada (you)", muted="true", video="false")
    assert tab.evaluate("relay.media.camera.track") is None


def test_everything_works_without_a_mouse(open_tab, lobby):
    tab = open_tab(f"/#lobby={lobby}")
    tab.wait(
        lambda: tab.evaluate("document.activeElement.id") == "entrance-name", "focus on the first empty field"
    )
    tab.page.keyboard.type("Ada")
    tab.page.keyboard.press("Enter")
    tab.wait_inside()
    tab.wait(
        lambda: tab.evaluate("document.activeElement.id") == "control-microphone", "focus on the controls"
    )
    tab.page.keyboard.press("m")
    tab.wait_tile("Ada (you)", muted="true")
    tab.page.keyboard.press("v")
    tab.wait_tile("Ada (you)", video="false")
    tab.page.keyboard.press("c")
    tab.wait(lambda: tab.evaluate("document.activeElement.id") == "chat-text", "focus on the message")
    tab.page.keyboard.type("mvc")  # letters here are text
    assert tab.page.input_value("#chat-text") == "mvc"
    tab.wait_tile("Ada (you)", muted="true", video="false")
    tab.page.keyboard.press("Escape")
    tab.wait(lambda: tab.evaluate("document.activeElement.id") == "control-chat", "focus back on the button")


def test_controls_have_names(open_tab, lobby):
    tab = open_tab()
    tab.enter("Ada", lobby)
    names = tab.evaluate(
        "[...document.querySelectorAll('#call button')].map((one) => one.ariaLabel || one.textContent.trim())"
    )
    assert all(names), names


def test_link_to_the_lobby_is_copied(open_tab, server, lobby):
    tab = open_tab()
    tab.enter("Ada", lobby)
    tab.page.click("#call-copy")
    tab.page.locator(".toast", has_text=re.compile("Link copied")).wait_for()
    expected = tab.evaluate("(lobby) => '#' + new URLSearchParams({ lobby })", lobby)
    assert tab.evaluate("navigator.clipboard.readText()") == f"http://127.0.0.1:{server.port}/{expected}"


def test_unreachable_server_is_explained_and_can_be_tried_again(proxy, open_tab, lobby):
    tab = open_tab(port=proxy.port)
    tab.tolerate("WebSocket connection to")
    proxy.refuse = True
    tab.page.fill("#entrance-name", "Ada")
    tab.page.fill("#entrance-lobby", lobby)
    tab.page.click("#entrance-join")
    tab.wait(lambda: "cannot be reached" in tab.page.text_content("#entrance-error"), "the explanation")
    proxy.refuse = False
    tab.page.click("#entrance-join")
    tab.wait_inside()


def test_phone_has_room_for_everything(open_tab, lobby):
    tab = open_tab()
    tab.page.set_viewport_size({"width": 360, "height": 740})
    tab.enter("Ada", lobby)
    tab.wait_tile("Ada (you)", video="true")
    overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0
    for control in ("microphone", "camera", "chat", "settings", "leave"):
        box = tab.page.locator(f"#control-{control}").bounding_box()
        assert box["width"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
