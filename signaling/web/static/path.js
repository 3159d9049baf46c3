/**
 * The media's way to the relay: notices that it broke and says what to do about it.
 *
 * First a new way for the same connection (an ICE restart). If that was tried, or the relay has closed its side, the
 * connection is given up and, after a pause that grows, the next one may begin.
 *
 * Events: `state` (see STATES), `restart` (offer again: ICE has been told to restart), `lost` (let go of the
 * connection), `again` (the pause is over: begin with a new one).
 */
import { Emitter } from "./emitter.js";

/** What a person is told: nothing to send or receive, on the way, fine, broken but trying, broken for long. */
export const STATES = ["idle", "connecting", "connected", "interrupted", "failing"];

/** ICE calls a path `disconnected` after some lost checks; most recover by themselves. */
const DISCONNECTED_GRACE_MS = 3_000;
/** ICE and DTLS take a few round trips; a path that takes this long does not exist. */
const CONNECT_TIMEOUT_MS = 12_000;
const PAUSE_FIRST_MS = 300;
const PAUSE_MAX_MS = 10_000;
/** So many connections in vain, and the page says that something is in the way. */
const FAILING_AFTER = 3;

export class Path extends Emitter {
  state = "idle";
  /** Between a connection that was lost and the next one. */
  pausing = false;
  /** @type {RTCPeerConnection|null} */
  #connection = null;
  #restarted = false;
  /** Connections lost since the last one that worked. */
  #losses = 0;
  #timer = 0;

  /** Care about this new connection from now on. @param {RTCPeerConnection} connection */
  follow(connection) {
    this.#connection = connection;
    this.#restarted = false;
    connection.addEventListener("connectionstatechange", () => {
      if (connection === this.#connection) this.#watch();
    });
  }

  /** An answer was applied: from now on the path should come up. */
  negotiated() {
    if (this.#connection.connectionState !== "connected" && !this.#losses) this.#setState("connecting");
    this.#watch();
  }

  /** Forget the connection and everything that was wrong with it. */
  reset() {
    this.#losses = 0;
    this.#letGo();
    this.#setState("idle");
  }

  /** The connection is no use any more. */
  giveUp() {
    this.#letGo();
    this.emit("lost");
    this.#losses += 1;
    this.#setState(this.#losses >= FAILING_AFTER ? "failing" : "interrupted");
    const pause = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** (this.#losses - 1));
    this.pausing = true;
    this.#timer = setTimeout(() => {
      this.pausing = false;
      this.emit("again");
    }, pause);
  }

  #watch() {
    clearTimeout(this.#timer);
    switch (this.#connection.connectionState) {
      case "connected":
        this.#losses = 0;
        this.#restarted = false;
        this.#setState("connected");
        break;
      case "disconnected":
        this.#setState("interrupted");
        this.#timer = setTimeout(() => this.#mend(), DISCONNECTED_GRACE_MS);
        break;
      case "failed":
        this.#mend();
        break;
      case "new":
      case "connecting":
        this.#timer = setTimeout(() => this.giveUp(), CONNECT_TIMEOUT_MS);
        break;
    }
  }

  #mend() {
    if (this.#restarted) {
      this.giveUp();
      return;
    }
    this.#restarted = true;
    this.#setState("interrupted");
    this.#connection.restartIce();
    this.#timer = setTimeout(() => this.giveUp(), CONNECT_TIMEOUT_MS);
    this.emit("restart");
  }

  #letGo() {
    clearTimeout(this.#timer);
    this.pausing = false;
    this.#connection = null;
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }
}
