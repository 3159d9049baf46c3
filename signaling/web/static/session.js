/**
 * One person's stay in a lobby: ties connection, lobby, media and call together.
 *
 * States: `outside`, `entering` (until the server's first `joined`), `inside` (also while reconnecting). Entering ends
 * with `inside` or with an exception for the form; staying ends with `leave`, or with the event `ended`
 * ({reason, stay, error}).
 *
 * Events: `state`, `ended`, `problem` (an error to show), `closing` ({reason}: the server is about to stop).
 */
import { MIX } from "./call.js";
import { Emitter } from "./emitter.js";
import { RequestError } from "./errors.js";

/** The form waits this long before it says that entering did not work. */
const ENTER_TIMEOUT_MS = 15_000;
const MIX_STAYS_MS = 2_000;

export class Session extends Emitter {
  state = "outside";
  /** @type {{name: string, lobby: string}|null} */
  #stay = null;
  /** @type {{resolve: Function, reject: Function, timer: number}|null} */
  #entering = null;
  #connection;
  #lobby;
  #media;
  #call;
  #takesMix = false;
  #mixRefused = false;
  #mixTimer = 0;

  /**
   * @param {{connection: import("./connection.js").Connection, lobby: import("./lobby.js").Lobby,
   *          media: import("./media.js").LocalMedia, call: import("./call.js").Call}} parts
   */
  constructor({ connection, lobby, media, call }) {
    super();
    this.#connection = connection;
    this.#lobby = lobby;
    this.#media = media;
    this.#call = call;
    connection.on("ready", ({ resumed }) => this.#ready(resumed));
    connection.on("failed", () => this.#refuse(new RequestError("local_unreachable", "no connection")));
    connection.on("replaced", () => this.#end("replaced"));
    connection.on("ended", ({ error }) => this.#dismissed("removed", error));
    connection.on("message", (message) => this.#receive(message));
    lobby.on("changed", () => this.#followLobby());
    media.on("changed", ({ source }) => this.#publish(source));
    call.on("problem", (error) => this.emit("problem", error));
    call.on("refused", ({ trackId }) => this.#doWithout(trackId));
  }

  /** Who and where we are, or null outside. */
  get stay() {
    return this.#stay;
  }

  /**
   * Enter a lobby.
   * @param {{name: string, lobby: string}} stay
   * @param {string|null} [resumeToken] of the session before a reload
   * @returns {Promise<void>} when we are inside
   * @throws {RequestError} then we are outside again
   */
  enter(stay, resumeToken = null) {
    this.#stay = stay;
    this.#setState("entering");
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#refuse(new RequestError("local_timeout", "no answer")), ENTER_TIMEOUT_MS);
      this.#entering = { resolve, reject, timer };
      this.#connection.open(resumeToken);
    });
  }

  /** Leave the lobby; the others see it at once. */
  leave() {
    this.#stay = null;
    this.farewell();
    this.#call.close();
    this.#lobby.clear();
    this.#setState("outside");
  }

  /** Tell the server that we go. While a page unloads a message gets out, but a closing handshake may not. */
  farewell() {
    if (this.state === "inside") this.#connection.request("leave").catch(() => {}); // closing fails it, by intention
    this.#connection.close();
  }

  /**
   * @param {string} text
   * @throws {RequestError}
   */
  async say(text) {
    await this.#connection.request("chat", { text });
  }

  async #ready(resumed) {
    if (resumed?.replayed) {
      this.#lobby.apply("private_audio", { participant_ids: resumed.private_audio });
      this.#call.resume(resumed.media_state); // what we missed of the lobby follows
      return;
    }
    if (resumed?.lobby) {
      const isReload = this.state === "entering";
      this.#arrive(resumed.lobby, resumed.private_audio);
      if (isReload) this.#call.start();
      else this.#call.resume(resumed.media_state);
      return;
    }
    try {
      const { name, lobby } = this.#stay;
      this.#arrive(await this.#connection.request("join", { name, lobby }));
      this.#call.start(); // of a former session, if there was one, nothing is left
    } catch (error) {
      if (error.isConnectionLoss) return; // the next `ready` tries again
      if (this.#entering) this.#refuse(error);
      else this.#end("refused", error);
    }
  }

  #arrive(snapshot, whisperers = []) {
    this.#lobby.reset(snapshot, whisperers);
    for (const source of [this.#media.microphone, this.#media.camera, this.#media.screen]) this.#publish(source);
    this.#setState("inside");
    clearTimeout(this.#entering?.timer);
    this.#entering?.resolve();
    this.#entering = null;
  }

  #refuse(error) {
    if (!this.#entering) return;
    const { reject, timer } = this.#entering;
    this.#entering = null;
    clearTimeout(timer);
    this.leave();
    reject(error);
  }

  #end(reason, error = null) {
    const stay = this.#stay;
    this.leave();
    this.emit("ended", { reason, stay, error });
  }

  /** Somebody has ended our stay. */
  #dismissed(reason, error) {
    if (this.#entering) this.#refuse(error);
    else if (this.#stay) this.#end(reason, error);
  }

  #receive({ type, data }) {
    if (type === "media_state") {
      if (data.state === "closed") this.#call.serverClosed();
    } else if (type === "removed") this.#dismissed("removed", new RequestError("removed", data.text));
    else if (type === "lobby_closed") this.#dismissed("closed", new RequestError("lobby_closed", data.reason));
    else if (type === "closing") this.emit("closing", data);
    else if (type === "error") this.emit("problem", new RequestError(data.code, data.error, data.field));
    else this.#lobby.apply(type, data);
  }

  #followLobby() {
    this.#chooseMix();
    this.#wantAudible();
    this.#call.setParticipants(this.#lobby.participants.size);
  }

  /** What is said to us alone is in the mix only. It stays a while longer, so that pauses do not switch to and fro. */
  #chooseMix() {
    if (this.#lobby.whisperers.length > 0) {
      clearTimeout(this.#mixTimer);
      this.#mixTimer = 0;
      this.#takesMix = !this.#mixRefused;
      return;
    }
    this.#mixRefused = false;
    if (!this.#takesMix || this.#mixTimer) return;
    this.#mixTimer = setTimeout(() => {
      this.#mixTimer = 0;
      this.#takesMix = false;
      this.#wantAudible();
    }, MIX_STAYS_MS);
  }

  /** Better the voices without what is for us alone than nothing. */
  #doWithout(trackId) {
    if (trackId !== MIX) return;
    this.#mixRefused = true;
    this.#takesMix = false;
    this.#wantAudible();
  }

  #wantAudible() {
    this.#call.want(this.#lobby.tracksByName, this.#takesMix ? MIX : this.#lobby.audioSlots);
  }

  #publish(source) {
    this.#call.publish(source.name, source.kind, source.track, !source.on);
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }
}
