/**
 * Puts the page together: parts, views, and the three things it can show (entrance, call, farewell).
 *
 * `window.relay` holds the parts for looking into a running page from the console or a test, for instance
 * `await relay.call.peerConnection.getStats()`, `relay.call.sections`, `relay.lobby.participants`.
 */
import { Call } from "./call.js";
import { Connection } from "./connection.js";
import { explain, explainDevices } from "./errors.js";
import { LevelMeter } from "./level.js";
import { Lobby } from "./lobby.js";
import { LocalMedia } from "./media.js";
import { leaveReturnTicket, Preferences, takeReturnTicket } from "./preferences.js";
import { Session } from "./session.js";
import { Speakers } from "./speakers.js";
import { Chat } from "./ui/chat.js";
import { Controls } from "./ui/controls.js";
import { byId } from "./ui/dom.js";
import { Entrance } from "./ui/entrance.js";
import { Farewell } from "./ui/farewell.js";
import { Header, linkTo } from "./ui/header.js";
import { announce, toast } from "./ui/notices.js";
import { Settings } from "./ui/settings.js";
import { Stage } from "./ui/stage.js";
import { Statistics } from "./ui/statistics.js";
import { Status } from "./ui/status.js";

const preferences = new Preferences();
const connection = new Connection(new URL("ws", location.href.replace(/^http/, "ws")).href);
const lobby = new Lobby();
const media = new LocalMedia(preferences);
const speakers = new Speakers();
const call = new Call((type, data) => connection.request(type, data));
const session = new Session({ connection, lobby, media, call });

const settings = new Settings({ media, speakers, preferences });
const chat = new Chat({ lobby, say: (text) => session.say(text) });
const statistics = new Statistics({ lobby, call, connection });
const stage = new Stage({ lobby, media, call });
const entrance = new Entrance({ media, preferences, openSettings: () => settings.open(), onJoin: enter });
const farewell = new Farewell({ onRejoin: () => comeBack(lastStay), onOther: openEntrance });
const ownLevel = new LevelMeter((_, speaking) => stage.setSelfSpeaking(speaking));
new Header({ lobby, chat });
new Status({ connection, call, speakers, session });
new Controls({
  media,
  onChat: () => chat.toggle(),
  onSettings: () => settings.open(),
  onStatistics: () => statistics.toggle(),
  onLeave: leave,
});

/** The stay that ended last, for the way back. @type {{name: string, lobby: string}|null} */
let lastStay = null;

async function enter(stay, resumeToken = null) {
  await session.enter(stay, resumeToken);
  history.replaceState(null, "", linkTo(stay.lobby));
  entrance.hide();
  farewell.hide();
  byId("call").hidden = false;
  byId("control-microphone").focus();
  announce(`You are in ${stay.lobby}.`);
  listenToOwnLevel();
}

function leave() {
  const { stay } = session;
  session.leave();
  showFarewell("left", stay);
}

function showFarewell(reason, stay, error = null) {
  lastStay = stay;
  byId("call").hidden = true;
  statistics.setOpen(false);
  chat.clear();
  media.stop();
  ownLevel.listen(null);
  farewell.show(reason, stay.lobby, error);
}

function openEntrance() {
  farewell.hide();
  entrance.show();
  media.start();
}

/** Into the call again, without questions. The browser's own about the devices keeps nobody waiting. */
async function comeBack({ name, lobby: lobbyName, resumeToken = null }) {
  farewell.show("returning", lobbyName);
  media.start();
  try {
    await enter({ name, lobby: lobbyName }, resumeToken);
  } catch (error) {
    farewell.hide();
    entrance.show(error);
  }
}

function listenToOwnLevel() {
  const { microphone } = media;
  ownLevel.listen(session.state === "inside" && microphone.on ? microphone.track : null);
}

session.on("ended", ({ reason, stay, error }) => showFarewell(reason, stay, error));
session.on("problem", (error) => toast(explain(error), "problem"));
media.on("changed", listenToOwnLevel);
media.on("problem", ({ source }) => {
  if (!byId("entrance").hidden) return; // the preview says it in place
  for (const text of explainDevices([source])) toast(text, "problem");
});
call.on("media", ({ trackId, track }) => {
  if (!track) speakers.set(trackId, null);
  else if (track.kind === "audio") speakers.set(trackId, track);
});
lobby.on("note", ({ text }) => announce(text));

addEventListener("online", () => connection.nudge());
document.addEventListener("visibilitychange", () => document.hidden || connection.nudge());
addEventListener("pagehide", () => {
  if (!session.stay) return;
  leaveReturnTicket({ ...session.stay, resumeToken: connection.resumeToken });
  session.farewell(); // the others see us go at once; a reload comes back at once
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // from the back/forward cache, with a dead connection
});

Object.assign(window, { relay: { connection, lobby, media, call, session } });

const ticket = takeReturnTicket();
if (ticket) comeBack(ticket);
else openEntrance();
