/**
 * This device's microphone, camera and screen: turning them on and off, choosing them, explaining why not.
 *
 * Each is a `Source`: what the person wants (`on`), what there is (`track`), and why there is nothing (`problem`).
 * A camera that is turned off is stopped, so that its light goes out; a muted microphone stays open but silent, so that
 * the first word after unmuting is not lost. Microphone and camera fail separately: one never takes the other along.
 *
 * Events: `changed` ({source}) after anything changed, `problem` ({source}) when turning on failed or a device
 * disappeared, `devices` when one was plugged in or out.
 *
 * @typedef {"blocked"|"missing"|"busy"|"insecure"|"failed"} Problem
 * @typedef {{name: "microphone"|"camera"|"screen", kind: "audio"|"video", on: boolean, starting: boolean,
 *            track: MediaStreamTrack|null, problem: Problem|null}} Source
 */
import { Emitter } from "./emitter.js";

/** @type {Record<string, Problem>} what getUserMedia's exceptions mean for a person */
const PROBLEMS = {
  NotAllowedError: "blocked",
  SecurityError: "insecure",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** @type {Record<string, "microphoneId"|"cameraId">} where the chosen device is remembered */
const ID_PREFERENCE = { microphone: "microphoneId", camera: "cameraId" };

const CAMERA_CONSTRAINTS = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30, max: 30 },
};
const SCREEN_CONSTRAINTS = { video: { frameRate: { ideal: 15, max: 30 } }, audio: false };

export class LocalMedia extends Emitter {
  /** @type {Source} */
  microphone = newSource("microphone", "audio");
  /** @type {Source} */
  camera = newSource("camera", "video");
  /** @type {Source} */
  screen = newSource("screen", "video");
  #preferences;
  /** Changes run one after the other, however fast somebody clicks. */
  #queue = Promise.resolve();

  /** @param {import("./preferences.js").Preferences} preferences */
  constructor(preferences) {
    super();
    this.#preferences = preferences;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.emit("devices"));
  }

  /** Turn on what was on the last time, asking for both permissions at once where both are wanted. */
  start() {
    return this.#inTurn(async () => {
      this.microphone.on = this.#preferences.get("microphoneOn");
      this.camera.on = this.#preferences.get("cameraOn");
      await this.#acquire([this.microphone, this.camera].filter((source) => source.on));
    });
  }

  /** Release every device. What was on stays remembered for the next `start`. */
  stop() {
    return this.#inTurn(async () => {
      for (const source of [this.microphone, this.camera, this.screen]) this.#release(source);
    });
  }

  /** @param {boolean} on */
  setMicrophone(on) {
    this.#preferences.set({ microphoneOn: on });
    return this.#inTurn(async () => {
      this.microphone.on = on;
      if (this.microphone.track) this.microphone.track.enabled = on;
      else if (on) await this.#acquire([this.microphone]);
      this.emit("changed", { source: this.microphone });
    });
  }

  /** @param {boolean} on */
  setCamera(on) {
    this.#preferences.set({ cameraOn: on });
    return this.#inTurn(async () => {
      if (!on) return this.#release(this.camera);
      this.camera.on = true;
      if (!this.camera.track) await this.#acquire([this.camera]);
    });
  }

  /** Ask which screen or window to share, and start. */
  startScreen() {
    return this.#inTurn(async () => {
      if (this.screen.track) return;
      try {
        const stream = await navigator.mediaDevices.getDisplayMedia(SCREEN_CONSTRAINTS);
        this.screen.on = true;
        this.screen.problem = null;
        this.#take(this.screen, stream.getVideoTracks()[0]);
      } catch (error) {
        // NotAllowedError is also what closing the browser's own chooser gives: no reason to complain.
        if (error.name !== "NotAllowedError") this.#fail(this.screen, "failed");
      }
    });
  }

  stopScreen() {
    return this.#inTurn(async () => this.#release(this.screen));
  }

  get canShareScreen() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /**
   * Use another device, from now on and next time.
   * @param {"microphone"|"camera"} name
   * @param {string} deviceId empty for the system's choice
   */
  choose(name, deviceId) {
    this.#preferences.set({ [ID_PREFERENCE[name]]: deviceId });
    return this.#replace(this[name]);
  }

  /** @param {boolean} processing whether echo and noise are removed from the microphone */
  setProcessing(processing) {
    this.#preferences.set({ processing });
    return this.#replace(this.microphone);
  }

  /** @returns {Promise<MediaDeviceInfo[]>} empty where the browser hides devices */
  async devices() {
    return (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  }

  #replace(source) {
    return this.#inTurn(async () => {
      const wasOn = source.on;
      if (!source.track && !wasOn) return;
      this.#drop(source); // some systems allow one user of a device: first close, then open
      await this.#acquire([source]);
      source.on = wasOn;
      if (source.track && source.kind === "audio") source.track.enabled = wasOn;
      this.emit("changed", { source });
    });
  }

  #inTurn(change) {
    this.#queue = this.#queue.then(change).catch(reportError);
    return this.#queue;
  }

  /** @param {Source[]} sources */
  async #acquire(sources) {
    if (!sources.length) return;
    for (const source of sources) {
      source.starting = true;
      source.problem = null;
      this.emit("changed", { source });
    }
    const failed = await this.#open(sources);
    // Together they make one permission question; separately each gets what it can.
    if (failed && sources.length > 1) for (const source of sources) this.#fail(source, await this.#open([source]));
    else if (failed) this.#fail(sources[0], failed);
    for (const source of sources) {
      source.starting = false;
      this.emit("changed", { source });
    }
  }

  /**
   * @param {Source[]} sources
   * @returns {Promise<Problem|null>}
   */
  async #open(sources) {
    if (!navigator.mediaDevices) return "insecure";
    const wanted = Object.fromEntries(sources.map((source) => [source.kind, this.#constraints(source)]));
    try {
      const stream = await navigator.mediaDevices.getUserMedia(wanted);
      for (const source of sources) this.#take(source, stream.getTracks().find((track) => track.kind === source.kind));
      return null;
    } catch (error) {
      return PROBLEMS[error.name] ?? "failed";
    }
  }

  #constraints(source) {
    const deviceId = this.#preferences.get(ID_PREFERENCE[source.name]);
    // `ideal`: a device that is no longer there must not keep the person out.
    const device = deviceId ? { deviceId: { ideal: deviceId } } : {};
    if (source.kind === "video") return { ...CAMERA_CONSTRAINTS, ...device };
    const processing = this.#preferences.get("processing");
    return { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing, ...device };
  }

  #take(source, track) {
    source.track = track;
    source.problem = null;
    if (source.name === "screen") track.contentHint = "detail";
    track.addEventListener("ended", () => this.#lost(source, track));
    this.emit("changed", { source });
  }

  /** The device was unplugged, the permission withdrawn, or sharing was ended with the browser's own button. */
  #lost(source, track) {
    if (source.track !== track) return;
    this.#release(source);
    if (source.name !== "screen") this.#fail(source, "missing");
  }

  /**
   * @param {Source} source
   * @param {Problem|null} problem
   */
  #fail(source, problem) {
    if (!problem) return;
    source.on = false;
    source.problem = problem;
    this.emit("changed", { source });
    this.emit("problem", { source });
  }

  #release(source) {
    source.on = false;
    this.#drop(source);
    this.emit("changed", { source });
  }

  #drop(source) {
    const track = source.track;
    source.track = null;
    track?.stop();
  }
}

/**
 * @param {Source["name"]} name
 * @param {Source["kind"]} kind
 * @returns {Source}
 */
function newSource(name, kind) {
  return { name, kind, on: false, starting: false, track: null, problem: null };
}
