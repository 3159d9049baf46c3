/**
 * The page between calls: why one ended, and the way back.
 */
import { explain } from "../errors.js";
import { byId } from "./dom.js";

/** @type {Record<string, (lobby: string, error: unknown) => [string, string]>} title and text by reason */
const WORDS = {
  returning: (lobby) => [`Returning to ${lobby}…`, "One moment, please."],
  left: (lobby) => [`You left ${lobby}`, "Your camera and microphone are off."],
  replaced: (lobby) => ["Continued in another tab", `You are in ${lobby} in another tab or window now. Rejoin to be in it here as well.`],
  removed: (lobby, error) => [`You are no longer in ${lobby}`, explain(error)],
  closed: (lobby, error) => [`${lobby} was closed`, explain(error)],
  refused: (lobby, error) => [`${lobby} cannot be re-entered`, explain(error)],
};

export class Farewell {
  /** @param {{onRejoin: () => void, onOther: () => void}} parts */
  constructor({ onRejoin, onOther }) {
    byId("farewell-rejoin").addEventListener("click", onRejoin);
    byId("farewell-other").addEventListener("click", onOther);
  }

  /**
   * @param {string} reason a key of WORDS
   * @param {string} lobby
   * @param {unknown} [error]
   */
  show(reason, lobby, error = null) {
    const [title, text] = WORDS[reason](lobby, error);
    byId("farewell-title").textContent = title;
    byId("farewell-text").textContent = text;
    byId("farewell").hidden = false;
    byId("farewell-buttons").hidden = reason === "returning";
    byId("farewell-rejoin").focus();
  }

  hide() {
    byId("farewell").hidden = true;
  }
}
