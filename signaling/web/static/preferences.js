/**
 * What the page remembers on this device, and the call it returns to after a reload.
 *
 * Storage may be full, blocked or from an older version of the page; then the defaults hold and nothing breaks.
 */

const PREFERENCES_KEY = "trio-relay.preferences";
const RETURN_KEY = "trio-relay.return";
/** A tab that is restored after longer than this asks before it turns on camera and microphone. */
const RETURN_WITHIN_MS = 60_000;

const DEFAULTS = {
  name: "",
  lobby: "",
  microphoneOn: true,
  cameraOn: true,
  microphoneId: "",
  cameraId: "",
  speakerId: "",
  processing: true,
};

/** @typedef {typeof DEFAULTS} Values */

/** Remembered choices; `get` and `set` by name. */
export class Preferences {
  /** @type {Values} */
  #values;

  constructor() {
    const stored = read("localStorage", PREFERENCES_KEY) ?? {};
    const usable = Object.entries(stored).filter(([key, value]) => typeof value === typeof DEFAULTS[key]);
    this.#values = { ...DEFAULTS, ...Object.fromEntries(usable) };
  }

  /**
   * @template {keyof Values} K
   * @param {K} key
   * @returns {Values[K]}
   */
  get(key) {
    return this.#values[key];
  }

  /** @param {Partial<Values>} changes */
  set(changes) {
    Object.assign(this.#values, changes);
    write("localStorage", PREFERENCES_KEY, this.#values);
  }
}

/**
 * Remember, while the page unloads, which call it was in.
 * @param {{name: string, lobby: string, resumeToken: string|null}} call
 */
export function leaveReturnTicket(call) {
  write("sessionStorage", RETURN_KEY, { ...call, at: Date.now() });
}

/**
 * The call that this tab was in just before it was reloaded. Only once: a duplicated tab must not take it as well.
 * @returns {{name: string, lobby: string, resumeToken: string|null}|null}
 */
export function takeReturnTicket() {
  const ticket = read("sessionStorage", RETURN_KEY);
  write("sessionStorage", RETURN_KEY, null);
  return ticket && Date.now() - ticket.at < RETURN_WITHIN_MS ? ticket : null;
}

/** @param {"localStorage"|"sessionStorage"} storage @param {string} key */
function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(key));
  } catch {
    return null;
  }
}

/** @param {"localStorage"|"sessionStorage"} storage @param {string} key @param {object|null} value */
function write(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // A page without storage still works; it only forgets.
  }
}
