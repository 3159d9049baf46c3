/**
 * The line above the call: which lobby, how many people, the link to share; and the tab's title.
 */
import { byId } from "./dom.js";
import { toast } from "./notices.js";

export class Header {
  #lobby;
  #unread = 0;

  /** @param {{lobby: import("../lobby.js").Lobby, chat: import("./chat.js").Chat}} parts */
  constructor({ lobby, chat }) {
    this.#lobby = lobby;
    chat.on("unread", (unread) => {
      this.#unread = unread;
      this.#render();
    });
    lobby.on("changed", () => this.#render());
    byId("call-copy").addEventListener("click", () => this.#copy());
    this.#render();
  }

  #render() {
    const { name, participants } = this.#lobby;
    byId("call-lobby").textContent = name;
    byId("call-lobby").title = name;
    byId("call-count").textContent = String(participants.size);
    byId("call-count-chip").setAttribute("aria-label", participants.size === 1 ? "Only you" : `${participants.size} people`);
    const unread = this.#unread ? `(${this.#unread}) ` : "";
    document.title = name ? `${unread}${name} · Trio Relay` : "Trio Relay";
  }

  async #copy() {
    const link = linkTo(this.#lobby.name);
    try {
      await navigator.clipboard.writeText(link);
      toast("Link copied. Send it to whoever should come.", "good");
    } catch {
      // No permission, or a page without https: let the person copy by hand.
      toast(`Copy this link: ${link}`);
    }
  }
}

/**
 * The address that opens this page with the lobby filled in.
 * @param {string} lobby
 */
export function linkTo(lobby) {
  return `${location.origin}${location.pathname}#${new URLSearchParams({ lobby })}`;
}
