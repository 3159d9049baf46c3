/**
 * The statistics overlay: what goes over the wire, per track, once a second.
 */
import { byId, element } from "./dom.js";

const INTERVAL_MS = 1_000;
const COLUMNS = ["", "Picture", "kbit/s", "Loss", "Jitter"];

export class Statistics {
  #lobby;
  #call;
  #connection;
  #timer = 0;
  /** @type {Map<string, any>} of the last round, by id */
  #former = new Map();

  /**
   * @param {{lobby: import("../lobby.js").Lobby, call: import("../call.js").Call,
   *          connection: import("../connection.js").Connection}} parts
   */
  constructor({ lobby, call, connection }) {
    this.#lobby = lobby;
    this.#call = call;
    this.#connection = connection;
  }

  toggle() {
    this.setOpen(byId("statistics").hidden);
  }

  /** @param {boolean} open */
  setOpen(open) {
    byId("statistics").hidden = !open;
    byId("control-statistics").setAttribute("aria-pressed", String(open));
    byId("control-statistics").dataset.tone = open ? "on" : "plain";
    clearInterval(this.#timer);
    if (!open) return;
    this.#timer = setInterval(() => this.#render(), INTERVAL_MS);
    this.#render();
  }

  async #render() {
    const report = await this.#call.peerConnection?.getStats();
    const all = report ? [...report.values()] : [];
    const pair = all.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
    const rows = [...all.filter(isRtp("outbound-rtp")), ...all.filter(isRtp("inbound-rtp"))].map((one) => this.#row(one));
    this.#former = new Map(all.map((one) => [one.id, one]));
    const table = element("table", "", headOf(COLUMNS), element("tbody", "", ...rows.filter(Boolean).map(rowOf)));
    byId("statistics").replaceChildren(element("p", "", this.#summary(pair)), table);
  }

  #summary(pair) {
    const parts = [
      `Media: ${this.#call.state}`,
      pair?.currentRoundTripTime !== undefined && `round trip ${Math.round(pair.currentRoundTripTime * 1_000)} ms`,
      this.#connection.roundTripMs !== null && `signaling ${Math.round(this.#connection.roundTripMs)} ms`,
    ];
    return parts.filter(Boolean).join(" · ");
  }

  #row(one) {
    const section = this.#call.sections.find((candidate) => candidate.mid === one.mid);
    const former = this.#former.get(one.id);
    if (!section || (!section.source && !section.trackId)) return null;
    const sent = one.type === "outbound-rtp";
    return [
      sent ? `You, ${section.source}` : this.#ownerOf(section.trackId),
      one.frameWidth ? `${one.frameWidth}×${one.frameHeight} ${Math.round(one.framesPerSecond ?? 0)} fps` : "–",
      former ? kilobitsPerSecond(one, former, sent ? "bytesSent" : "bytesReceived") : "…",
      sent ? "" : lossOf(one, former),
      sent || one.jitter === undefined ? "" : `${Math.round(one.jitter * 1_000)} ms`,
    ];
  }

  #ownerOf(trackId) {
    if (trackId.startsWith("slot:")) return "Whoever speaks";
    if (trackId === "mix") return "Everybody, mixed";
    const owner = this.#lobby.others.find((one) => one.tracks.some((track) => track.track_id === trackId));
    const track = owner?.tracks.find((one) => one.track_id === trackId);
    return owner ? `${owner.name}, ${track.source}` : "–";
  }
}

function isRtp(type) {
  return (one) => one.type === type;
}

function kilobitsPerSecond(now, before, field) {
  const seconds = (now.timestamp - before.timestamp) / 1_000;
  return seconds > 0 ? String(Math.round(((now[field] - before[field]) * 8) / 1_000 / seconds)) : "…";
}

/** Of the packets that should have come since the last round. */
function lossOf(now, before) {
  const lost = now.packetsLost - (before?.packetsLost ?? 0);
  const expected = lost + now.packetsReceived - (before?.packetsReceived ?? 0);
  return expected > 0 ? `${((Math.max(0, lost) / expected) * 100).toFixed(1)} %` : "–";
}

function headOf(columns) {
  return element("thead", "", element("tr", "", ...columns.map((text) => element("th", "", text))));
}

function rowOf(cells) {
  return element("tr", "", ...cells.map((text) => element("td", "", text)));
}
