"""Calls between tabs, through the real page and the real relay."""

from browser_tones import FILE_TONE_HZ, TOLERANCE_HZ, oscillator_microphone
from call_tab import COUNT_OFFERS

TONE_HZ = 1320

NO_SOUND_WITHOUT_CLICK = """
globalThis.soundsStarted = 0;
(() => {
  const real = HTMLAudioElement.prototype.play;
  let clicked = false;
  addEventListener("click", (event) => { clicked ||= event.target.id === "banner-action"; }, true);
  HTMLAudioElement.prototype.play = async function () {
    if (!clicked) throw new DOMException("no gesture", "NotAllowedError");
    await real.call(this);
    soundsStarted += 1;
  };
})();
"""


def test_two_tabs_see_and_hear_each_other(open_tab, lobby):
    # Ada's microphone is the browser's fake device playing a file; voice processing would take a tone for noise.
    ada = open_tab()
    ada.page.click("#preview-settings")
    ada.page.uncheck("#settings-processing")
    ada.page.keyboard.press("Escape")
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(TONE_HZ),))
    grace.enter("Grace")
    ada.wait_tile("Grace", speaking="true")
    for tab, other, tone_hz in ((ada, "Grace", TONE_HZ), (grace, "Ada", FILE_TONE_HZ)):
        tab.wait_video_of(other, growths=4)
        tab.wait_tile(other, video="true", muted="false")
        tab.wait_tones([tone_hz], TOLERANCE_HZ)
        tab.wait_state("Connected")


def test_third_tab_sees_all_and_is_seen_by_all(open_tab, lobby):
    names = ["Ada", "Grace", "Radia"]
    tones_hz = {"Ada": 600, "Grace": 1000, "Radia": 1700}
    tabs = {}
    for name in names:
        tabs[name] = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(tones_hz[name]),))
        tabs[name].enter(name)
    for name, tab in tabs.items():
        for other in names:
            if other != name:
                tab.wait_video_of(other)
        tab.wait_tones([tones_hz[other] for other in names if other != name], TOLERANCE_HZ)
        assert tab.page.text_content("#call-count") == "3"
    tabs["Radia"].page.click("#control-leave")
    for name in ("Ada", "Grace"):
        tabs[name].wait_no_tile("Radia")
    tabs["Ada"].wait_video_of("Grace")


def test_freed_section_carries_the_next_person_without_an_offer(open_tab, lobby):
    ada = open_tab(scripts=(oscillator_microphone(TONE_HZ),))
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    ada.wait_video_of("Grace")
    sections = ada.evaluate("relay.call.sections.length")
    described = ada.evaluate("relay.call.peerConnection.remoteDescription.sdp")
    grace.page.click("#control-leave")
    ada.wait_no_tile("Grace")
    radia = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(2000),))
    radia.enter("Radia")
    ada.wait_video_of("Radia")
    ada.wait_tones([2000], TOLERANCE_HZ)
    radia.wait_tones([TONE_HZ], TOLERANCE_HZ)
    assert ada.evaluate("relay.call.sections.length") == sections
    assert ada.evaluate("relay.call.peerConnection.remoteDescription.sdp") == described


def test_the_voices_of_a_crowd_come_and_go_without_an_offer(open_tab, lobby):
    tones_hz = {"Ada": 500, "Grace": 900, "Radia": 1400, "Barbara": 2100}
    listener = open_tab(scripts=(COUNT_OFFERS,))
    for button in ("#preview-microphone", "#preview-camera"):
        listener.page.click(button)
    listener.enter("Listener", lobby)
    listener.wait_state("Connected")
    offers = listener.evaluate("offersMade")
    speakers = {}
    for name, tone_hz in tones_hz.items():
        speakers[name] = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(tone_hz),))
        speakers[name].page.click("#preview-camera")
        if name == "Barbara":
            speakers[name].page.click("#preview-microphone")
        speakers[name].enter(name)
    listener.wait_tones([500, 900, 1400], TOLERANCE_HZ)
    speakers["Ada"].wait_tones([900, 1400], TOLERANCE_HZ)
    speakers["Grace"].page.click("#control-leave")
    listener.wait_tones([500, 1400], TOLERANCE_HZ)
    speakers["Barbara"].page.click("#control-microphone")
    listener.wait_tones([500, 1400, 2100], TOLERANCE_HZ)
    speakers["Barbara"].wait_tones([500, 1400], TOLERANCE_HZ)
    assert listener.evaluate("offersMade") == offers == 1


def test_camera_goes_off_and_comes_back(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    grace.wait_video_of("Ada")
    device = ada.page.evaluate_handle("relay.media.camera.track")
    ada.page.click("#control-camera")
    grace.wait_tile("Ada", video="false")
    ada.wait_tile("Ada (you)", video="false")
    assert device.evaluate("(track) => track.readyState") == "ended"  # its light is off
    assert grace.tile("Ada").locator(".avatar").is_visible()
    ada.page.click("#control-camera")
    grace.wait_tile("Ada", video="true")
    grace.wait_video_of("Ada")


def test_mute_is_shown_and_silences(open_tab, lobby):
    ada = open_tab(scripts=(oscillator_microphone(TONE_HZ),))
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    grace.wait_tones([TONE_HZ], TOLERANCE_HZ)
    ada.page.click("#control-microphone")
    grace.wait_tile("Ada", muted="true", speaking="false")
    grace.wait_silence()
    ada.page.click("#control-microphone")
    grace.wait_tile("Ada", muted="false", speaking="true")
    grace.wait_tones([TONE_HZ], TOLERANCE_HZ)


def test_chat_reaches_everyone_and_those_who_come_later(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    ada.wait_tile("Grace")
    ada.say("hello <b>there</b>, see https://example.org/a?b=c.")
    grace.wait(lambda: grace.page.get_attribute("#control-chat", "data-unread") == "1", "the unread mark")
    assert grace.page.title().startswith("(1)")
    grace.page.click("#control-chat")
    grace.wait_line("hello <b>there</b>")
    assert grace.page.get_attribute(".chat-text a", "href") == "https://example.org/a?b=c"
    assert grace.page.get_attribute("#control-chat", "data-unread") == ""
    grace.say("good morning")
    ada.wait_line("good morning")
    radia = open_tab(f"/#lobby={lobby}")
    radia.enter("Radia")
    radia.page.click("#control-chat")
    radia.wait_line("hello <b>there</b>")
    radia.wait_line("good morning")
    ada.page.locator(".chat-note", has_text="Radia joined").wait_for(state="attached")


def test_leaving_turns_devices_off_and_rejoining_brings_all_back(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(TONE_HZ),))
    grace.enter("Grace")
    ada.wait_video_of("Grace")
    grace.page.click("#control-leave")
    ada.wait_no_tile("Grace")
    grace.page.get_by_role("heading", name=f"You left {lobby}").wait_for()
    grace.wait(
        lambda: not grace.evaluate("relay.media.camera.track || relay.media.microphone.track"), "devices off"
    )
    grace.page.click("#farewell-rejoin")
    grace.wait_inside()
    grace.wait_video_of("Ada")
    ada.wait_video_of("Grace")
    ada.wait_tones([TONE_HZ], TOLERANCE_HZ)


def test_shared_screen_is_shown_large_until_it_ends(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    grace.wait_video_of("Ada")
    for _ in range(2):  # the section of the first time is used again
        ada.page.click("#control-screen")
        grace.wait_tile("Ada's screen", video="true", spotlight="true")
        ada.page.click("#control-screen")
        grace.wait_no_tile("Ada's screen")
    grace.wait_video_of("Ada")


def test_picture_shrinks_as_people_come(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    rung = "relay.call.sections.find((one) => one.source === 'camera').transceiver.sender.getParameters().encodings[0]"
    ada.wait(
        lambda: ada.evaluate(f"relay.call.sections.length && {rung}.maxBitrate") == 1_500_000,
        "the large picture",
    )
    others = [
        open_tab(f"/#lobby={lobby}", scripts=("navigator.mediaDevices.getUserMedia = undefined;",))
        for _ in range(2)
    ]
    for number, tab in enumerate(others):
        tab.enter(f"Guest {number}")
    ada.wait(lambda: ada.evaluate(f"{rung}.maxBitrate") == 900_000, "the middle picture")
    assert ada.evaluate(f"{rung}.scaleResolutionDownBy") > 1


def test_statistics_show_what_is_received(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    ada.wait_video_of("Grace")
    ada.page.click("#control-statistics")
    row = ada.page.locator("#statistics tr", has_text="Grace, camera")
    ada.wait(lambda: "fps" in (row.text_content() or ""), "the row of Grace's camera")
    assert ada.page.locator("#statistics").get_by_text("round trip").count() == 1


def test_blocked_sound_waits_for_a_click(open_tab, lobby):
    ada = open_tab(scripts=(oscillator_microphone(TONE_HZ),))
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}", scripts=(NO_SOUND_WITHOUT_CLICK,))
    grace.enter("Grace")
    grace.wait_state("Sound is off")
    assert grace.evaluate("soundsStarted") == 0
    grace.page.click("text=Click to hear")
    grace.wait_state("Connected")
    grace.wait(lambda: grace.evaluate("soundsStarted") == 3, "the sound of all slots")
