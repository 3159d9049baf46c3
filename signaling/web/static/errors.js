/**
 * Errors as the page knows them, and what it says to a person about each.
 *
 * Codes from the server are listed in signaling/PROTOCOL.md; those that start with `local_` are made here.
 */

/** A request that the server refused, or that never reached it. */
export class RequestError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {string} [field] the field of the request that was wrong
   */
  constructor(code, message, field) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.field = field ?? null;
  }

  /** True when the request may succeed once the connection is back. */
  get isConnectionLoss() {
    return this.code === "local_connection_lost" || this.code === "local_timeout";
  }
}

/** What to say, by code. Codes that are missing here are explained by the server's own text. */
const SENTENCES = {
  local_connection_lost: "The connection to the server was lost. Trying again.",
  local_timeout: "The server did not answer in time. Check your network, then try again.",
  local_unreachable: "The server cannot be reached. Check your network, then try again.",
  at_capacity: "The server is full at the moment. Please try again in a few minutes.",
  rate_limited: "That was a little too fast. Please wait a few seconds, then try again.",
  too_large: "That is too long to send. Please shorten it.",
  internal: "Something went wrong on the server. Please try again.",
  password_required: "This lobby is private: it takes a password or an invitation.",
  wrong_password: "That is not the right password. Please try again.",
  lobby_private: "This lobby is private: it takes an invitation.",
  lobby_full: "This lobby is full at the moment. Please try again later.",
  name_protected: "This name belongs to somebody else. Please choose another one.",
  storage_unavailable: "The others saw your message, but the server may not be able to keep it.",
  not_in_lobby: "You are no longer in this lobby. Join again to continue.",
};

/**
 * One sentence for a person: what was wrong and what to do.
 * @param {unknown} error
 * @returns {string}
 */
export function explain(error) {
  if (error instanceof RequestError) return SENTENCES[error.code] ?? error.message;
  return error instanceof Error ? error.message : String(error);
}

/** Why a device is not available, and what to do about it, by kind and problem (see media.js). */
const DEVICE_SENTENCES = {
  both: {
    blocked: "Camera and microphone are blocked. Allow them in your browser's site settings (the icon beside the address), then turn them on again.",
    missing: "No camera and no microphone were found. You can still join to see and listen.",
    insecure: "Browsers allow camera and microphone only on secure pages (https). You can still join to see and listen.",
  },
  audio: {
    blocked: "The microphone is blocked. Allow it in your browser's site settings (the icon beside the address), then turn it on again.",
    missing: "No microphone was found. You can still listen; plug one in and turn it on.",
    busy: "The microphone is in use by another program. Close that program, then turn it on again.",
    insecure: "Browsers allow the microphone only on secure pages (https). You can still listen.",
    failed: "The microphone did not start. Try another one in the device settings.",
  },
  video: {
    blocked: "The camera is blocked. Allow it in your browser's site settings (the icon beside the address), then turn it on again.",
    missing: "No camera was found. You can join without one.",
    busy: "The camera is in use by another program. Close that program, then turn it on again.",
    insecure: "Browsers allow the camera only on secure pages (https). You can join without it.",
    failed: "The camera did not start. Try another one in the device settings.",
  },
  screen: {
    failed: "Screen sharing could not be started.",
  },
};

/**
 * What to say about devices that did not start: one sentence for two of them with the same problem.
 * @param {import("./media.js").Source[]} sources
 * @returns {string[]}
 */
export function explainDevices(sources) {
  const troubled = sources.filter((source) => source.problem);
  const [first, second] = troubled;
  const together = second && first.problem === second.problem && DEVICE_SENTENCES.both[first.problem];
  if (together) return [together];
  return troubled.map(({ name, kind, problem }) => {
    const sentences = DEVICE_SENTENCES[name === "screen" ? "screen" : kind];
    return sentences[problem] ?? sentences.failed;
  });
}
