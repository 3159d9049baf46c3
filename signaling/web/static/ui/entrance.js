/**
 * The page before the call: preview of camera and microphone, name, lobby, join.
 */
import { explain, explainDevices } from "../errors.js";
import { LevelMeter } from "../level.js";
import { paintAvatar } from "./avatar.js";
import { byId, element, icon, setFace } from "./dom.js";

const NAME_LENGTH = 64;
const LOBBY_LENGTH = 64;

export class Entrance {
  #media;
  #preferences;
  #onJoin;
  #meter = new LevelMeter((level) => byId("preview-meter").style.setProperty("--level", level.toFixed(3)));

  /**
   * @param {{media: import("../media.js").LocalMedia, preferences: import("../preferences.js").Preferences,
   *          openSettings: () => void, onJoin: (stay: {name: string, lobby: string}) => Promise<void>}} parts
   */
  constructor({ media, preferences, openSettings, onJoin }) {
    this.#media = media;
    this.#preferences = preferences;
    this.#onJoin = onJoin;
    byId("entrance-name").value = preferences.get("name");
    byId("entrance-lobby").value = lobbyOfAddress() || preferences.get("lobby");
    byId("entrance-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    for (const field of ["name", "lobby"]) byId(`entrance-${field}`).addEventListener("input", () => this.#setError(field, ""));
    byId("entrance-name").addEventListener("input", () => this.#render());
    byId("preview-microphone").addEventListener("click", () => media.setMicrophone(!media.microphone.on));
    byId("preview-camera").addEventListener("click", () => media.setCamera(!media.camera.on));
    byId("preview-settings").addEventListener("click", openSettings);
    media.on("changed", () => this.#render());
    // A shared link opened in a tab that already shows this page changes only the address' fragment.
    addEventListener("hashchange", () => {
      if (lobbyOfAddress()) byId("entrance-lobby").value = lobbyOfAddress();
    });
  }

  /** @param {unknown} [error] why we are back here */
  show(error = null) {
    byId("entrance").hidden = false;
    this.#setBusy(false);
    if (error) this.#showError(error);
    this.#render();
    const empty = ["name", "lobby"].find((field) => !byId(`entrance-${field}`).value);
    byId(empty ? `entrance-${empty}` : "entrance-join").focus();
  }

  hide() {
    byId("entrance").hidden = true;
    this.#meter.listen(null);
    byId("preview-video").srcObject = null;
  }

  async #submit() {
    const stay = { name: byId("entrance-name").value.trim(), lobby: byId("entrance-lobby").value.trim() };
    const errors = {
      name: checkText(stay.name, NAME_LENGTH, "Please enter your name.", "Names"),
      lobby: checkText(stay.lobby, LOBBY_LENGTH, "Please enter the name of a lobby.", "Lobby names"),
    };
    byId("entrance-error").textContent = "";
    for (const field of ["name", "lobby"]) this.#setError(field, errors[field]);
    const wrong = ["name", "lobby"].find((field) => errors[field]);
    if (wrong) {
      byId(`entrance-${wrong}`).focus();
      return;
    }
    this.#preferences.set(stay);
    this.#setBusy(true);
    try {
      await this.#onJoin(stay);
    } catch (error) {
      this.#showError(error);
    } finally {
      this.#setBusy(false);
    }
  }

  /** Beside its field if the server named one, else below the form. */
  #showError(error) {
    const field = ["name", "lobby"].find((name) => error.field === name);
    if (field) {
      this.#setError(field, `This ${error.message.replace(/^`\w+`: /, "")}.`);
      byId(`entrance-${field}`).focus();
    } else {
      byId("entrance-error").textContent = explain(error);
    }
  }

  #setError(field, text) {
    byId(`entrance-${field}-error`).textContent = text;
    byId(`entrance-${field}`).setAttribute("aria-invalid", String(Boolean(text)));
  }

  #setBusy(busy) {
    const button = byId("entrance-join");
    button.disabled = busy;
    button.textContent = busy ? "Joining…" : "Join";
    byId("entrance-form").setAttribute("aria-busy", String(busy));
  }

  #render() {
    if (byId("entrance").hidden) return;
    const { microphone, camera } = this.#media;
    setFace(byId("preview-microphone"), {
      symbol: microphone.on ? "microphone" : "microphone-off",
      label: microphone.on ? "Turn microphone off" : "Turn microphone on",
      tone: microphone.on ? "plain" : "off",
    });
    setFace(byId("preview-camera"), {
      symbol: camera.on ? "camera" : "camera-off",
      label: camera.on ? "Turn camera off" : "Turn camera on",
      tone: camera.on ? "plain" : "off",
    });
    this.#renderPicture(camera);
    paintAvatar(byId("preview-avatar"), byId("entrance-name").value);
    byId("preview-note").textContent = noteFor(camera);
    byId("preview-meter-note").textContent = microphone.on ? "" : "Microphone is off";
    this.#meter.listen(microphone.on ? microphone.track : null);
    const sentences = explainDevices([microphone, camera]);
    byId("preview-problems").replaceChildren(
      ...sentences.map((text) => element("p", "problem", icon("warning"), element("span", "", text))),
    );
  }

  #renderPicture(camera) {
    const video = byId("preview-video");
    video.hidden = !camera.track;
    if ((video.srcObject?.getTracks()[0] ?? null) === camera.track) return;
    video.srcObject = camera.track ? new MediaStream([camera.track]) : null;
  }
}

/**
 * The lobby that a shared link names: `#lobby=..` or `?lobby=..`.
 * @returns {string}
 */
export function lobbyOfAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1)).get("lobby");
  return (fragment ?? new URLSearchParams(location.search).get("lobby") ?? "").trim();
}

function checkText(text, length, ifEmpty, what) {
  if (!text) return ifEmpty;
  // The server counts code points, not UTF-16 units.
  return [...text].length > length ? `${what} have at most ${length} characters; this has ${[...text].length}.` : "";
}

function noteFor(camera) {
  if (camera.starting) return "Starting the camera…";
  return camera.on ? "" : "Your camera is off";
}
