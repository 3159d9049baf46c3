/**
 * Plays the others' audio: one audio element for each track or audio slot, on the chosen speaker.
 *
 * Browsers may refuse to play until the person touches the page (after a reload, for instance). Then `blocked` is true,
 * and `unblock`, called from a click, starts them all. Event: `blocked` ({blocked}).
 */
import { Emitter } from "./emitter.js";

export class Speakers extends Emitter {
  /** @type {Map<string, HTMLAudioElement>} */
  #elements = new Map();
  #deviceId = "";
  blocked = false;

  /** Whether the browser can play on another device than the system's. */
  static get canChoose() {
    return "setSinkId" in HTMLMediaElement.prototype;
  }

  /**
   * Play this track, or stop playing it.
   * @param {string} trackId
   * @param {MediaStreamTrack|null} track
   */
  set(trackId, track) {
    const former = this.#elements.get(trackId);
    if (former) {
      former.srcObject = null;
      this.#elements.delete(trackId);
    }
    if (!track) return;
    const element = new Audio();
    element.srcObject = new MediaStream([track]);
    this.#elements.set(trackId, element);
    this.#route(element);
    this.#play(element);
  }

  clear() {
    for (const trackId of [...this.#elements.keys()]) this.set(trackId, null);
    this.#setBlocked(false);
  }

  /** Start everything that was refused; call from a click or a key press. */
  unblock() {
    this.#setBlocked(false);
    for (const element of this.#elements.values()) this.#play(element);
  }

  /** @param {string} deviceId empty for the system's choice */
  choose(deviceId) {
    this.#deviceId = deviceId;
    for (const element of this.#elements.values()) this.#route(element);
  }

  async #play(element) {
    try {
      await element.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.#setBlocked(true); // AbortError: the track went away meanwhile
    }
  }

  async #route(element) {
    if (!Speakers.canChoose || element.sinkId === this.#deviceId) return;
    try {
      await element.setSinkId(this.#deviceId);
    } catch {
      // The device is gone: the system's own choice is still heard.
    }
  }

  #setBlocked(blocked) {
    if (this.blocked === blocked) return;
    this.blocked = blocked;
    this.emit("blocked", { blocked });
  }
}
