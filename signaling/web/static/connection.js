/**
 * The WebSocket to the server: envelope, requests with replies, heartbeat, reconnection.
 *
 * Messages are `{type, data, id?}`; a reply carries `re`, the id of its request. When the socket drops, every waiting
 * request fails with `local_connection_lost`, and the connection tries again with growing, jittered pauses. After each
 * welcome it first asks to `resume` the former session; `ready` says whether that worked. What a *session* then has to
 * do (join again, offer again) is session.js's business.
 *
 * Events of a lobby are numbered (`seq`). `resume` says which one we got last, so that the server sends what we missed
 * (`replayed`), each event once; or, when that was too long ago, the whole lobby as it is now.
 *
 * Events: `state` (the new state), `ready` ({resumed: object|null}), `message` ({type, data}), `failed` (the first
 * attempt after `open` did not reach the server), `replaced` (another tab has taken the session; we are closed),
 * `ended` ({error}: somebody ended the session; we are closed).
 */
import { Emitter } from "./emitter.js";
import { RequestError } from "./errors.js";

/** A reply later than this means that server or network are in trouble. */
const REQUEST_TIMEOUT_MS = 8_000;
/** Socket open, welcome and resume together. */
const WELCOME_TIMEOUT_MS = 8_000;
/**
 * The server's WebSocket pings are invisible to JavaScript, so we ask ourselves: finds dead networks within 15 s. An
 * answer may wait behind a line of chat that the server's database takes seconds to keep.
 */
const HEARTBEAT_MS = 8_000;
const HEARTBEAT_TIMEOUT_MS = 7_000;
/** Pause before attempt n is drawn from half to all of min(BACKOFF_MAX, BACKOFF_FIRST * 2^n): a fleet spreads out. */
const BACKOFF_FIRST_MS = 400;
const BACKOFF_MAX_MS = 8_000;

/** Close codes, see signaling/PROTOCOL.md. Goodbye ends the session; anything else leaves it open for `resume`. */
const CLOSE_GOODBYE = 1000;
const CLOSE_RETRYING = 4000;
const CLOSED_RATE_LIMITED = 1008;
const CLOSED_RESUMED_ELSEWHERE = 4009;
const CLOSED_SESSION_ENDED = 4010;

/**
 * closed: nobody wants a connection. connecting: socket, welcome, resume. open: requests flow. waiting: pausing
 * before the next attempt.
 * @type {Record<string, Record<string, string>>}
 */
const TRANSITIONS = {
  closed: { open: "connecting" },
  connecting: { ready: "open", drop: "waiting", close: "closed" },
  open: { drop: "waiting", close: "closed" },
  waiting: { retry: "connecting", close: "closed" },
};

export class Connection extends Emitter {
  #url;
  #state = "closed";
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {Map<number, {resolve: Function, reject: Function, timer: number}>} */
  #pending = new Map();
  #nextId = 1;
  #attempt = 0;
  #reached = false;
  #timer = 0;
  #heartbeat = 0;
  /** @type {string|null} */
  #resumeToken = null;
  /**
   * Who we are in the lobby and the number of the last event we got there; null in no lobby, or after a reload.
   * @type {{participantId: string, seq: number}|null}
   */
  #seen = null;
  /** @type {number|null} */
  roundTripMs = null;
  /** The latest `welcome`, for whoever asks about server and limits. @type {any} */
  welcome = null;

  /** @param {string} url */
  constructor(url) {
    super();
    this.#url = url;
  }

  get state() {
    return this.#state;
  }

  /** Names the session to resume after a lost connection or a reload. */
  get resumeToken() {
    return this.#resumeToken;
  }

  /**
   * Connect, and stay connected until `close`.
   * @param {string|null} [resumeToken] of a session from before a reload
   */
  open(resumeToken = null) {
    this.#step("open");
    this.#attempt = 0;
    this.#reached = false;
    this.#resumeToken = resumeToken;
    this.#seen = null;
    this.#connect();
  }

  /** Say goodbye: the server ends the session at once. */
  close() {
    if (this.#state === "closed") return;
    this.#release(CLOSE_GOODBYE);
    this.#resumeToken = null;
    this.#step("close");
  }

  /** The network may have changed: skip the rest of a pause, or ask for a sign of life at once. */
  nudge() {
    if (this.#state === "waiting") this.#retry();
    else if (this.#state === "open") this.#beat();
  }

  /**
   * Send a message and wait for its reply.
   * @param {string} type
   * @param {object} [data]
   * @param {number} [timeoutMs]
   * @returns {Promise<any>} the reply's data
   * @throws {RequestError}
   */
  request(type, data = {}, timeoutMs = REQUEST_TIMEOUT_MS) {
    if (this.#state !== "open") {
      return Promise.reject(new RequestError("local_connection_lost", "not connected"));
    }
    return this.#send(type, data, timeoutMs);
  }

  #connect() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#timer = setTimeout(() => this.#drop(), WELCOME_TIMEOUT_MS);
  }

  #send(type, data, timeoutMs) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new RequestError("local_timeout", `${type} was not answered within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ type, data, id }));
    });
  }

  #receive(text) {
    const message = JSON.parse(text);
    if (message.re !== undefined && message.re !== null) this.#settle(message);
    else if (message.type === "welcome") this.#greet(message.data);
    else if (this.#isNews(message)) this.emit("message", { type: message.type, data: message.data ?? {} });
  }

  /** Note the number of an event; false for one that we got before. */
  #isNews({ seq }) {
    if (seq === undefined || seq === null) return true;
    if (!this.#seen || seq <= this.#seen.seq) return false;
    this.#seen.seq = seq;
    return true;
  }

  /** Note which event is the last one in what a reply shows us. */
  #see(type, data) {
    const lobby = type === "resumed" ? data.lobby : data;
    if (type === "joined" || (type === "resumed" && lobby)) {
      this.#seen = { participantId: lobby.participant_id, seq: lobby.seq };
    } else if (type === "left" || (type === "resumed" && !data.replayed)) this.#seen = null;
  }

  #settle({ re, type, data }) {
    const waiting = this.#pending.get(re);
    if (!waiting) return;
    this.#pending.delete(re);
    clearTimeout(waiting.timer);
    this.#see(type, data);
    if (type === "error") waiting.reject(new RequestError(data.code, data.error, data.field));
    else waiting.resolve(data);
  }

  async #greet(welcome) {
    const socket = this.#socket;
    this.welcome = welcome;
    this.#reached = true;
    let resumed = null;
    if (this.#resumeToken) {
      try {
        resumed = await this.#send("resume", this.#claim(), WELCOME_TIMEOUT_MS);
      } catch (error) {
        if (error.isConnectionLoss) return; // the drop has been, or will be, noticed by its own timer
        if (error.code === "session_ended") {
          this.#end(error);
          return;
        }
        this.#seen = null;
      }
      if (socket !== this.#socket) return;
    }
    if (!resumed) this.#resumeToken = welcome.resume_token; // a resumed session keeps its own
    clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#step("ready");
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.emit("ready", { resumed });
  }

  /** Which session we were, and what we saw of it last. */
  #claim() {
    const seen = this.#seen && { participant_id: this.#seen.participantId, last_seq: this.#seen.seq };
    return { resume_token: this.#resumeToken, ...seen };
  }

  /** @param {RequestError} error why somebody ended the session */
  #end(error) {
    this.close();
    this.emit("ended", { error });
  }

  async #beat() {
    const socket = this.#socket;
    const before = performance.now();
    try {
      await this.request("ping", {}, HEARTBEAT_TIMEOUT_MS);
      this.roundTripMs = performance.now() - before;
    } catch (error) {
      if (error.code === "local_timeout" && socket === this.#socket) this.#drop();
    }
  }

  #closed(code, reason) {
    if (code === CLOSED_SESSION_ENDED) {
      this.#end(new RequestError("session_ended", reason));
      return;
    }
    if (code === CLOSED_RESUMED_ELSEWHERE) {
      this.close();
      this.emit("replaced");
      return;
    }
    if (code === CLOSED_RATE_LIMITED) this.#attempt = Infinity; // the longest pause
    this.#drop();
  }

  #drop() {
    this.#release(CLOSE_RETRYING);
    this.#step("drop");
    if (!this.#reached) {
      this.#reached = true; // say it once for each open()
      this.emit("failed");
    }
    if (this.#state !== "waiting") return; // a handler closed us
    const pause = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#attempt++);
    this.#timer = setTimeout(() => this.#retry(), pause * (0.5 + Math.random() / 2));
  }

  #retry() {
    clearTimeout(this.#timer);
    this.#step("retry");
    this.#connect();
  }

  /** Stop timers, forget the socket without waiting for its closing handshake, fail what waits for replies. */
  #release(closeCode) {
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    this.roundTripMs = null;
    if (this.#socket) {
      this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close(closeCode);
      this.#socket = null;
    }
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new RequestError("local_connection_lost", "the connection was lost"));
    }
    this.#pending.clear();
  }

  #step(event) {
    const next = TRANSITIONS[this.#state][event];
    if (!next) throw new Error(`connection: ${event} is not possible while ${this.#state}`);
    this.#state = next;
    this.emit("state", next);
  }
}
