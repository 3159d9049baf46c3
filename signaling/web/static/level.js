/**
 * How loud the microphone is, for the preview's meter and the own tile's ring.
 *
 * Browsers let an AudioContext run only after the person has touched the page; before that the level is 0.
 */

/** Levels below this (a peak of 0.09 of full scale) are the noise of a room. */
const SPEAKING_LEVEL = 0.3;
/** The ring stays for pauses between words. */
const SPEAKING_HOLD_MS = 500;
const INTERVAL_MS = 60;

export class LevelMeter {
  /** @type {AudioContext|null} */
  #context = null;
  /** @type {MediaStreamTrack|null} */
  #track = null;
  /** @type {MediaStreamAudioSourceNode|null} */
  #node = null;
  /** @type {AnalyserNode|null} */
  #analyser = null;
  #samples = new Float32Array(1024);
  #timer = 0;
  #spokeAt = -Infinity;
  #onLevel;

  /** @param {(level: number, speaking: boolean) => void} onLevel about 16 times a second; level is 0 to 1 */
  constructor(onLevel) {
    this.#onLevel = onLevel;
  }

  /** @param {MediaStreamTrack|null} track */
  listen(track) {
    if (track === this.#track) return;
    this.#disconnect();
    this.#track = track;
    if (!track) {
      clearInterval(this.#timer);
      this.#timer = 0;
      this.#onLevel(0, false);
    } else if (!this.#timer) {
      this.#timer = setInterval(() => this.#measure(), INTERVAL_MS);
    }
  }

  #measure() {
    if (!this.#node && !this.#connect()) return;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const peak = this.#samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    const level = Math.min(1, Math.sqrt(peak)); // closer to what ears hear than the bare amplitude
    const now = performance.now();
    if (level > SPEAKING_LEVEL) this.#spokeAt = now;
    this.#onLevel(level, now - this.#spokeAt < SPEAKING_HOLD_MS);
  }

  #connect() {
    if (!navigator.userActivation?.hasBeenActive) return false; // an AudioContext made now would be born suspended
    this.#context ??= new AudioContext();
    if (this.#context.state === "suspended") this.#context.resume();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#node = new MediaStreamAudioSourceNode(this.#context, { mediaStream: new MediaStream([this.#track]) });
    this.#node.connect(this.#analyser);
    return true;
  }

  #disconnect() {
    this.#node?.disconnect();
    this.#node = null;
  }
}
