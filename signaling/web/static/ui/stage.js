/**
 * The stage: a tile for everybody and for every shared screen, arranged to fill the window.
 */
import { arrange } from "./arrangement.js";
import { byId } from "./dom.js";
import { Tile } from "./tile.js";

export class Stage {
  #lobby;
  #media;
  #call;
  #frame = byId("stage");
  #box = byId("stage-tiles");
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** What the person chose to see large. @type {string|null} */
  #pinned = null;
  #selfSpeaking = false;
  #scheduled = false;

  /**
   * @param {{lobby: import("../lobby.js").Lobby, media: import("../media.js").LocalMedia,
   *          call: import("../call.js").Call}} parts
   */
  constructor({ lobby, media, call }) {
    this.#lobby = lobby;
    this.#media = media;
    this.#call = call;
    const render = () => this.#schedule();
    lobby.on("changed", render);
    media.on("changed", render);
    call.on("media", render);
    new ResizeObserver(render).observe(this.#frame);
  }

  /** @param {boolean} speaking by our own measure: nobody's ring should wait for the network */
  setSelfSpeaking(speaking) {
    if (speaking === this.#selfSpeaking) return;
    this.#selfSpeaking = speaking;
    this.#schedule();
  }

  /** One rendering for all changes of a moment. Not requestAnimationFrame: hidden tabs have none, and tiles must go. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#render();
    });
  }

  #render() {
    const faces = this.#faces();
    const keys = new Set(faces.map((face) => face.key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
    const spotlight = faces.find((face) => face.pinned) ?? faces.find((face) => face.isScreen && !face.isSelf);
    if (spotlight) {
      spotlight.spotlight = faces.length > 1;
      faces.unshift(...faces.splice(faces.indexOf(spotlight), 1));
    }
    const { rectangles, height } = this.#arrangement(faces.length, Boolean(spotlight));
    this.#box.style.setProperty("height", `${height}px`);
    faces.forEach((face, index) => {
      const tile = this.#tiles.get(face.key) ?? this.#add(face.key);
      tile.update(face);
      if (rectangles[index]) tile.move(rectangles[index]);
    });
    this.#frame.dataset.alone = String(faces.length === 1);
  }

  #arrangement(count, spotlight) {
    const { paddingLeft, paddingRight, paddingTop, paddingBottom } = getComputedStyle(this.#frame);
    const width = this.#frame.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    const height = this.#frame.clientHeight - parseFloat(paddingTop) - parseFloat(paddingBottom);
    return arrange(count, width, height, spotlight);
  }

  #add(key) {
    const tile = new Tile(() => {
      this.#pinned = this.#pinned === key ? null : key;
      this.#schedule();
    });
    this.#tiles.set(key, tile);
    this.#box.append(tile.root);
    return tile;
  }

  /** The others in order of arrival, screens first, ourselves last. @returns {import("./tile.js").TileFace[]} */
  #faces() {
    if (!this.#lobby.selfId) return [];
    const screens = this.#lobby.others.flatMap((one) => one.tracks.filter(isShown("screen")).map((track) => this.#screenFace(one, track)));
    const others = this.#lobby.others.map((one) => this.#personFace(one));
    return [...screens, ...others, ...this.#ownFaces()].map((face) => ({ ...face, pinned: face.key === this.#pinned }));
  }

  #personFace(participant) {
    const microphone = participant.tracks.find((track) => track.kind === "audio" && track.source !== "screen_audio");
    const camera = participant.tracks.find((track) => track.kind === "video" && track.source !== "screen" && !track.muted);
    return {
      ...PLAIN_FACE,
      key: participant.participant_id,
      name: participant.name,
      label: participant.name,
      isBot: participant.is_bot,
      muted: !microphone || microphone.muted,
      speaking: Boolean(participant.speaking) && !microphone?.muted,
      video: camera ? this.#call.mediaOf(camera.track_id) : null,
    };
  }

  #screenFace(participant, track) {
    const label = `${participant.name}'s screen`;
    return { ...PLAIN_FACE, key: track.track_id, name: participant.name, label, isScreen: true, video: this.#call.mediaOf(track.track_id) };
  }

  #ownFaces() {
    const { microphone, camera, screen } = this.#media;
    const name = this.#lobby.self?.name ?? "";
    const self = { ...PLAIN_FACE, name, isSelf: true };
    const person = {
      ...self,
      key: "self",
      label: `${name} (you)`,
      muted: !microphone.on,
      speaking: this.#selfSpeaking && microphone.on,
      mirrored: camera.track?.getSettings().facingMode !== "environment",
      video: camera.track,
    };
    if (!screen.track) return [person];
    return [{ ...self, key: "self-screen", label: "Your screen", isScreen: true, video: screen.track }, person];
  }
}

/** @type {import("./tile.js").TileFace} */
const PLAIN_FACE = {
  key: "",
  name: "",
  label: "",
  isSelf: false,
  isBot: false,
  isScreen: false,
  muted: false,
  speaking: false,
  mirrored: false,
  pinned: false,
  spotlight: false,
  video: null,
};

function isShown(source) {
  return (track) => track.source === source && !track.muted;
}
