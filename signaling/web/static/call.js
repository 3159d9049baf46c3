/**
 * The media of one participant: one RTCPeerConnection, kept in line with what is wanted.
 *
 * Whoever uses it states wishes: `publish` says what we send, `want` what we receive of the others: tracks, and the
 * lobby's audio slots, in which whoever speaks is heard, or the mix of all. A slot, or the mix, is wanted, carried and shown
 * like a track, under an id of our own (`slotId`, `MIX`); only the server is told the difference. A single loop
 * (`#reconcile`) compares wishes with sections and does the least that makes them true:
 *
 *   1. `unsubscribe` sections whose track nobody wants any more; they stay negotiated, for reuse
 *   2. `subscribe` free sections of the right kind to wanted tracks: no offer
 *   3. add transceivers for what is left and some spare ones, and send one `offer` for all of them
 *   4. announce what is muted
 *
 * We always offer and the server always answers, so there is no glare; only one offer is under way, and wishes that
 * arrive meanwhile wait for the next round. What happens when the path breaks is decided in path.js.
 *
 * Events: `media` ({trackId, track|null}), `state` (see path.js), `refused` ({trackId}: we do not get it), `problem`
 * (RequestError).
 *
 * @typedef {{name: string, kind: "audio"|"video", track: MediaStreamTrack|null, muted: boolean,
 *            transceiver: RTCRtpTransceiver|null, trackId: string|null, announced: boolean}} Publication
 * @typedef {{transceiver: RTCRtpTransceiver, kind: "audio"|"video", trackId: string|null, live: boolean,
 *            shown: string|null}} Section `live`: negotiated. `shown`: the track that was announced by `media`.
 */
import { Emitter } from "./emitter.js";
import { limitEncoding } from "./ladder.js";
import { Path } from "./path.js";

const KINDS = ["audio", "video"];
/** Tracks of one newcomer are announced one by one; waiting this long puts them into one offer. */
const GATHER_WISHES_MS = 5;

/** @param {number} slot @returns {string} what a slot is called where others have track ids */
export function slotId(slot) {
  return `slot:${slot}`;
}

/** What the mix is called where others have track ids. */
export const MIX = "mix";

/** Whether it is one of ours: how many sections they take is known from the beginning. */
function isVoices(trackId) {
  return trackId === MIX || trackId?.startsWith("slot:");
}

/** What the server is told that a section shall carry. */
function carrying(trackId) {
  if (trackId === MIX) return { mix: true };
  return trackId.startsWith("slot:") ? { slot: Number(trackId.slice(5)) } : { track_id: trackId };
}

export class Call extends Emitter {
  #request;
  /** @type {RTCPeerConnection|null} */
  #connection = null;
  /** @type {Map<string, Publication>} */
  #publications = new Map();
  /** @type {Section[]} */
  #sections = [];
  /** @type {Map<string, "audio"|"video">} */
  #wanted = new Map();
  /** Tracks that the server would not give us; asked for again only when they are announced anew. */
  #refused = new Set();
  /** Microphone and camera share a stream, which asks receivers to keep lips and voice in step. */
  #voiceAndFace = new MediaStream();
  #participants = 1;
  #path = new Path();
  #open = false;
  #busy = false;
  #again = false;
  #offerNeeded = false;
  #wishTimer = 0;

  /** @param {(type: string, data: object) => Promise<any>} request */
  constructor(request) {
    super();
    this.#request = request;
    this.#path.on("state", (state) => this.emit("state", state));
    this.#path.on("lost", () => this.#discard());
    this.#path.on("again", () => this.#wish());
    this.#path.on("restart", () => {
      this.#offerNeeded = true;
      this.#wish();
    });
  }

  get state() {
    return this.#path.state;
  }

  /** The browser's connection, for statistics and debugging; null while there is none. */
  get peerConnection() {
    return this.#connection;
  }

  /** Which section carries what: for statistics and debugging. */
  get sections() {
    const sending = [...this.#publications.values()].filter((one) => one.transceiver);
    return [
      ...sending.map(({ name, kind, trackId, transceiver }) => ({ mid: transceiver.mid, kind, source: name, trackId, transceiver })),
      ...this.#sections.map(({ kind, trackId, transceiver }) => ({ mid: transceiver.mid, kind, source: null, trackId, transceiver })),
    ];
  }

  /**
   * The media of a remote track, once it is subscribed.
   * @param {string} trackId
   * @returns {MediaStreamTrack|null}
   */
  mediaOf(trackId) {
    return this.#sections.find((section) => section.shown === trackId)?.transceiver.receiver.track ?? null;
  }

  /** Begin, in a lobby just joined: everything before belongs to the past. */
  start() {
    this.#open = true;
    this.#discard();
    this.#path.reset();
    this.#wish();
  }

  /** Go on after the WebSocket came back to the same session. */
  resume(serverState) {
    const gone = serverState === "closed" || serverState === "new";
    if (gone && this.#connection) this.start();
    else this.#wish();
  }

  /** End it; wishes are forgotten. */
  close() {
    this.#open = false;
    this.#discard();
    this.#path.reset();
    clearTimeout(this.#wishTimer);
    this.#wishTimer = 0;
    this.#publications.clear();
    this.#wanted.clear();
  }

  /**
   * State what we send as `name`. Without a track, and never published, it stays unpublished.
   * @param {string} name source: microphone, camera, screen
   * @param {"audio"|"video"} kind
   * @param {MediaStreamTrack|null} track
   * @param {boolean} muted
   */
  publish(name, kind, track, muted) {
    const publication = this.#publications.get(name);
    if (publication) Object.assign(publication, { track, muted });
    else this.#publications.set(name, { name, kind, track, muted, transceiver: null, trackId: null, announced: false });
    this.#wish();
  }

  /**
   * State what we receive: exactly these tracks, and that many audio slots or the mix.
   * @param {{track_id: string, kind: "audio"|"video"}[]} tracks
   * @param {number|MIX} voices
   */
  want(tracks, voices) {
    const ids = voices === MIX ? [MIX] : Array.from({ length: voices }, (_, slot) => slotId(slot));
    this.#wanted = new Map([...ids.map((id) => [id, "audio"]), ...tracks.map((track) => [track.track_id, track.kind])]);
    for (const trackId of this.#refused) if (!this.#wanted.has(trackId)) this.#refused.delete(trackId);
    this.#wish();
  }

  /** @param {number} participants how many share the call; our picture shrinks as they grow */
  setParticipants(participants) {
    if (participants === this.#participants) return;
    this.#participants = participants;
    this.#wish();
  }

  /** The server says that its side of the media has ended. Late news about a former connection change nothing. */
  serverClosed() {
    const beginning = ["new", "connecting"].includes(this.#connection?.connectionState);
    if (this.#connection && !beginning && !this.#busy) this.#path.giveUp();
  }

  #wish() {
    if (!this.#open || this.#path.pausing || this.#wishTimer) return;
    this.#wishTimer = setTimeout(() => {
      this.#wishTimer = 0;
      if (!this.#path.pausing) this.#reconcile(); // or `again` comes when the pause is over
    }, GATHER_WISHES_MS);
  }

  async #reconcile() {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    try {
      do {
        this.#again = false;
        await this.#round();
      } while (this.#again && this.#open && !this.#path.pausing);
    } catch (error) {
      // After a lost connection `resume` or `start` begins the next round.
      if (this.#open && !error.isConnectionLoss) {
        this.emit("problem", error);
        this.#path.giveUp();
      }
    } finally {
      this.#busy = false;
      if (this.#again) this.#wish();
    }
  }

  async #round() {
    const connection = (this.#connection ??= this.#connect());
    await this.#freeSections();
    await this.#fillSections();
    await this.#updateSenders();
    if (connection !== this.#connection) return;
    this.#addSections(connection);
    if (this.#offerNeeded) await this.#negotiate(connection);
    if (connection !== this.#connection) return;
    await this.#announceMutes();
  }

  /** Tracks that are wanted and not yet carried by a section. */
  get #missing() {
    const carried = new Set(this.#sections.map((section) => section.trackId));
    return [...this.#wanted].filter(([trackId]) => !carried.has(trackId) && !this.#refused.has(trackId));
  }

  async #freeSections() {
    const unwanted = this.#sections.filter(({ trackId }) => trackId !== null && !this.#wanted.has(trackId));
    await Promise.all(
      unwanted.map(async (section) => {
        this.#assign(section, null, section.live);
        if (section.live) await this.#ask("unsubscribe", { mid: section.transceiver.mid }, "unknown_mid");
      }),
    );
  }

  async #fillSections() {
    const requests = [];
    for (const [trackId, kind] of this.#missing) {
      const section = this.#sections.find((one) => one.live && one.trackId === null && one.kind === kind);
      if (!section) continue;
      section.trackId = trackId; // taken, so that the next track finds another one
      requests.push(this.#subscribe(section, trackId));
    }
    await Promise.all(requests);
  }

  async #subscribe(section, trackId) {
    const { mid } = section.transceiver;
    const refusals = trackId === MIX ? ["unsupported", "at_capacity"] : ["unknown_track"];
    const failure = await this.#ask("subscribe", { mid, ...carrying(trackId) }, "unknown_mid", ...refusals);
    if (refusals.includes(failure)) {
      this.#assign(section, null, true);
      this.#refuse(trackId);
    } else if (failure === "unknown_mid") {
      section.live = false;
      this.#offerNeeded = true;
    } else {
      this.#assign(section, trackId, true);
    }
  }

  #refuse(trackId) {
    this.#refused.add(trackId);
    this.emit("refused", { trackId });
  }

  /** Send a request whose failure with one of `codes` is an answer too. @returns {Promise<string|null>} that code */
  async #ask(type, data, ...codes) {
    try {
      await this.#request(type, data);
      return null;
    } catch (error) {
      if (codes.includes(error.code)) return error.code;
      throw error;
    }
  }

  async #updateSenders() {
    for (const publication of this.#publications.values()) {
      const { transceiver, track, name } = publication;
      if (!transceiver) continue;
      if (transceiver.sender.track !== track) await transceiver.sender.replaceTrack(track);
      // A camera that is off stays published, to come back at once. A screen that is no longer shared is gone.
      const direction = track || name !== "screen" ? "sendonly" : "inactive";
      if (transceiver.direction !== direction) {
        transceiver.direction = direction;
        this.#offerNeeded = true;
      }
      if (name === "camera" && track) await limitEncoding(transceiver.sender, this.#participants);
    }
  }

  #addSections(connection) {
    for (const publication of this.#publications.values()) {
      if (publication.transceiver || !publication.track) continue;
      const streams = publication.name === "screen" ? [new MediaStream()] : [this.#voiceAndFace];
      publication.transceiver = connection.addTransceiver(publication.track, { direction: "sendonly", streams });
      this.#offerNeeded = true;
      this.#again = true; // for the limits of its encoding
    }
    for (const kind of KINDS) {
      const missing = this.#missing.filter((one) => one[1] === kind);
      for (const [trackId] of missing) this.#addReceiver(connection, kind, trackId);
      if (missing.length) this.#addSpares(connection, kind);
    }
  }

  #addReceiver(connection, kind, trackId) {
    const unused = this.#sections.find((section) => trackId && section.trackId === null && section.kind === kind);
    if (unused) {
      Object.assign(unused, { trackId, live: false });
    } else {
      const transceiver = connection.addTransceiver(kind, { direction: "recvonly" });
      this.#sections.push({ transceiver, kind, trackId, live: false, shown: null });
    }
    this.#offerNeeded = true;
  }

  /** An offer that adds sections adds half as many again, empty: the next to come need no offer at all. */
  #addSpares(connection, kind) {
    const sections = this.#sections.filter((section) => section.kind === kind && !isVoices(section.trackId));
    const free = sections.filter((section) => section.trackId === null).length;
    const wanted = Math.ceil((sections.length - free) / 2);
    for (let count = free; count < wanted; count += 1) this.#addReceiver(connection, kind, null);
  }

  async #negotiate(connection) {
    this.#offerNeeded = false;
    try {
      await connection.setLocalDescription();
      const answer = await this.#request("offer", this.#describeOffer(connection.localDescription.sdp));
      if (connection !== this.#connection) return;
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      this.#applyAnswer(answer);
    } catch (error) {
      this.#offerNeeded = true;
      throw error;
    }
    this.#path.negotiated();
  }

  #describeOffer(sdp) {
    const sending = [...this.#publications.values()].filter((one) => one.transceiver?.direction === "sendonly");
    const receiving = this.#sections.filter((section) => section.trackId !== null);
    return {
      sdp,
      publish: sending.map((one) => ({ mid: one.transceiver.mid, source: one.name })),
      subscribe: receiving.map((section) => ({ mid: section.transceiver.mid, ...carrying(section.trackId) })),
    };
  }

  #applyAnswer({ published, subscribed, refused }) {
    const publishedAs = new Map(published.map(({ mid, track_id }) => [mid, track_id]));
    for (const publication of this.#publications.values()) {
      const trackId = publishedAs.get(publication.transceiver?.mid) ?? null;
      if (trackId !== publication.trackId) Object.assign(publication, { trackId, announced: false });
    }
    const carries = new Map(subscribed.map(({ mid, track_id, slot, mix }) => [mid, mix ? MIX : (track_id ?? slotId(slot))]));
    this.#sections = this.#sections.filter(({ transceiver }) => transceiver.currentDirection !== "stopped");
    for (const section of this.#sections) {
      const trackId = carries.get(section.transceiver.mid) ?? null;
      if (section.trackId !== null && trackId === null) this.#refuse(section.trackId);
      this.#assign(section, trackId, section.transceiver.currentDirection === "recvonly");
    }
    const ours = new Set([...this.#publications.values()].map((one) => one.transceiver?.mid));
    for (const { mid, error } of refused) {
      if (ours.has(mid)) this.emit("problem", new Error(`The server did not take what you send: ${error}`));
    }
  }

  /** @param {Section} section @param {string|null} trackId @param {boolean} live whether the section is negotiated */
  #assign(section, trackId, live) {
    const former = section.shown;
    const shown = live ? trackId : null;
    Object.assign(section, { trackId, live, shown });
    if (former === shown) return;
    if (former !== null) this.emit("media", { trackId: former, track: null });
    if (shown !== null) this.emit("media", { trackId: shown, track: section.transceiver.receiver.track });
  }

  async #announceMutes() {
    for (const publication of this.#publications.values()) {
      const { trackId, muted } = publication;
      if (!trackId || publication.announced === muted) continue;
      await this.#ask("mute", { track_id: trackId, muted }, "unknown_track");
      if (publication.trackId === trackId) publication.announced = muted;
    }
  }

  #connect() {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: [] });
    this.#path.follow(connection);
    return connection;
  }

  #discard() {
    for (const section of this.#sections) this.#assign(section, null, false);
    this.#sections = [];
    for (const publication of this.#publications.values()) {
      Object.assign(publication, { transceiver: null, trackId: null, announced: false });
    }
    this.#refused.clear();
    this.#offerNeeded = false;
    this.#connection?.close();
    this.#connection = null;
  }
}
