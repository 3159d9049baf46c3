/**
 * One tile: a person or a shared screen.
 *
 * @typedef {{key: string, name: string, label: string, isSelf: boolean, isBot: boolean, isScreen: boolean,
 *            muted: boolean, speaking: boolean, mirrored: boolean, pinned: boolean,
 *            spotlight: boolean, video: MediaStreamTrack|null}} TileFace
 */
import { paintAvatar } from "./avatar.js";
import { byId } from "./dom.js";

export class Tile {
  /** @type {HTMLElement} */
  root;
  #video;
  #pin;
  /** @type {MediaStreamTrack|null} */
  #track = null;

  /** @param {() => void} onPin */
  constructor(onPin) {
    this.root = byId("tile-template").content.firstElementChild.cloneNode(true);
    this.#video = this.root.querySelector("video");
    this.#pin = /** @type {HTMLButtonElement} */ (this.root.querySelector(".tile-pin"));
    this.#pin.addEventListener("click", onPin);
    // A reused receiver still holds the former person's last picture: show nothing before the first new frame.
    this.#video.addEventListener("loadeddata", () => this.#reveal());
  }

  /** @param {TileFace} face */
  update(face) {
    const { dataset } = this.root;
    dataset.key = face.key;
    dataset.self = String(face.isSelf);
    dataset.bot = String(face.isBot);
    dataset.screen = String(face.isScreen);
    dataset.muted = String(face.muted);
    dataset.speaking = String(face.speaking);
    dataset.mirrored = String(face.mirrored);
    dataset.pinned = String(face.pinned);
    dataset.spotlight = String(face.spotlight);
    this.root.setAttribute("aria-label", describe(face));
    this.root.querySelector(".tile-name").textContent = face.label;
    paintAvatar(this.root.querySelector(".avatar"), face.name);
    const pin = this.#pin;
    pin.setAttribute("aria-label", `Show ${face.label} large`);
    pin.title = pin.getAttribute("aria-label");
    pin.setAttribute("aria-pressed", String(face.pinned));
    this.#show(face.video);
  }

  /** @param {import("./arrangement.js").Rectangle} rectangle */
  move({ x, y, width, height }) {
    const { style } = this.root;
    style.setProperty("transform", `translate(${x}px, ${y}px)`);
    style.setProperty("width", `${width}px`);
    style.setProperty("height", `${height}px`);
    style.setProperty("--avatar-size", `${Math.max(36, Math.min(width, height) * 0.36)}px`);
    this.root.dataset.small = String(width < 220);
  }

  remove() {
    this.#show(null);
    this.root.remove();
  }

  #show(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.root.dataset.video = "false";
    this.#video.srcObject = track ? new MediaStream([track]) : null;
  }

  #reveal() {
    const track = this.#track;
    const reveal = () => {
      if (track && track === this.#track) this.root.dataset.video = "true";
    };
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(reveal);
    else reveal();
  }
}

function describe({ label, muted, isBot, isScreen, speaking }) {
  const notes = [isBot && "bot", muted && !isScreen && "microphone off", speaking && "speaking"].filter(Boolean);
  return [label, ...notes].join(", ");
}
