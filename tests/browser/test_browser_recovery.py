"""What breaks mends itself: reload, lost WebSocket, lost server, closed tab."""

from browser_tones import TOLERANCE_HZ, oscillator_microphone

TONE_HZ = 1320

USERNAME = "relay.call.peerConnection.remoteDescription.sdp.match(/a=ice-ufrag:(.*)/)[1]"
CLAIM_FAILURE = """
(() => {
  const connection = relay.call.peerConnection;
  Object.defineProperty(connection, "connectionState", { value: "failed", configurable: true });
  connection.dispatchEvent(new Event("connectionstatechange"));
  delete connection.connectionState;
})()
"""

RESUME = """
(resume_token) => new Promise((resolve) => {
  globalThis.stolen = new WebSocket(`ws://${location.host}/ws`);
  stolen.onmessage = ({ data }) => {
    const { type } = JSON.parse(data);
    if (type === "welcome") stolen.send(JSON.stringify({ type: "resume", data: { resume_token }, id: 1 }));
    if (type === "resumed") resolve();
  };
})
"""


def test_reload_returns_to_the_call(open_tab, lobby):
    ada = open_tab(scripts=(oscillator_microphone(TONE_HZ),))
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    grace.wait_video_of("Ada")
    ada.page.reload()
    ada.wait_inside()
    ada.wait_video_of("Grace")
    grace.wait_video_of("Ada")
    grace.wait_tones([TONE_HZ], TOLERANCE_HZ)
    assert grace.page.text_content("#call-count") == "2"


def test_closed_tab_is_gone_at_once(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    ada.wait_tile("Grace")
    grace.page.close(run_before_unload=True)
    ada.page.locator(".chat-note", has_text="Grace left").wait_for(state="attached", timeout=3_000)


def test_lost_websocket_is_resumed_while_the_call_goes_on(proxy, open_tab, lobby):
    ada = open_tab(scripts=(oscillator_microphone(TONE_HZ),))
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}", port=proxy.port)
    grace.tolerate("WebSocket connection to")
    grace.enter("Grace")
    grace.wait_video_of("Ada")
    ada.wait_video_of("Grace")
    grace.evaluate("globalThis.formerConnection = relay.call.peerConnection")
    participant = grace.evaluate("relay.lobby.selfId")
    proxy.refuse = True
    proxy.sever()
    grace.wait_state("Reconnecting")
    grace.page.locator("#banner", has_text="may go on").wait_for()
    grace.wait_video_of("Ada", growths=3)
    ada.wait_video_of("Grace", growths=3)
    ada.say("are you there?")
    proxy.refuse = False
    grace.wait_state("Connected")
    grace.wait_line("are you there?")
    assert grace.page.is_hidden("#banner")
    assert grace.evaluate("relay.lobby.selfId") == participant
    assert grace.evaluate("relay.call.peerConnection === formerConnection")
    assert ada.page.locator(".chat-note", has_text="left").count() == 0
    grace.wait_tones([TONE_HZ], TOLERANCE_HZ)


def test_broken_media_is_built_anew(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(TONE_HZ),))
    grace.enter("Grace")
    ada.wait_video_of("Grace")
    grace.wait_video_of("Ada")
    # The browser does not tell the page that it closed the connection, but it tells the relay, and the relay the page.
    grace.evaluate("relay.call.peerConnection.close()")
    grace.wait(
        lambda: grace.evaluate("relay.call.peerConnection?.connectionState") == "connected",
        "a new connection",
    )
    ada.wait_tones([TONE_HZ], TOLERANCE_HZ)
    ada.wait_video_of("Grace")
    grace.wait_video_of("Ada")
    grace.wait_state("Connected")


def test_failed_path_gets_an_ice_restart(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}")
    grace.enter("Grace")
    grace.wait_video_of("Ada")
    grace.evaluate("globalThis.former = { connection: relay.call.peerConnection }")
    username = grace.evaluate(USERNAME)
    # Nothing on the loopback address fails by itself; all that follows from this claim is real.
    grace.evaluate(CLAIM_FAILURE)
    grace.wait(lambda: grace.evaluate(USERNAME) != username, "new ICE credentials from the relay")
    grace.wait_state("Connected")
    grace.wait_video_of("Ada", growths=3)
    ada.wait_video_of("Grace", growths=3)
    assert grace.evaluate("relay.call.peerConnection === former.connection")


def test_killed_server_is_noticed_and_its_return_brings_all_back(open_tab, server, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    grace = open_tab(f"/#lobby={lobby}", scripts=(oscillator_microphone(TONE_HZ),))
    grace.enter("Grace")
    ada.wait_video_of("Grace")
    for tab in (ada, grace):
        tab.tolerate("WebSocket connection to")
    server.kill()
    for tab in (ada, grace):
        tab.wait_state("Reconnecting")
        tab.page.locator("#banner", has_text="connection to the server was lost").wait_for()
    server.start()
    for tab, other in ((ada, "Grace"), (grace, "Ada")):
        tab.wait_state("Connected")
        tab.wait_video_of(other)
        assert tab.page.text_content("#call-count") == "2"
    ada.wait_tones([TONE_HZ], TOLERANCE_HZ)


def test_stopping_server_says_so(open_tab, server, lobby):
    tab = open_tab()
    tab.tolerate("WebSocket connection to")
    tab.enter("Ada", lobby)
    tab.wait_state("Connected")
    server.stop()
    tab.page.locator("#banner", has_text="The server is restarting").wait_for()
    server.start()
    tab.wait_state("Connected")
    assert tab.page.is_hidden("#banner")


def test_session_that_moves_to_another_tab_says_so_and_stays_away(open_tab, lobby):
    ada = open_tab()
    ada.enter("Ada", lobby)
    thief = open_tab()
    thief.evaluate(RESUME, ada.evaluate("relay.connection.resumeToken"))
    ada.page.get_by_role("heading", name="Continued in another tab").wait_for()
    assert ada.evaluate("relay.connection.state") == "closed"
    ada.page.click("#farewell-rejoin")
    ada.wait_inside()
