/**
 * The chat beside the call: messages, who came and went, the number of unread ones.
 *
 * Event: `unread` (how many messages came while the chat was closed).
 */
import { Emitter } from "../emitter.js";
import { explain } from "../errors.js";
import { byId, element, setFace } from "./dom.js";
import { toast } from "./notices.js";

/** Messages of one person within this time stand under one name. */
const SAME_BREATH_MS = 3 * 60_000;
/** Scrolled up further than this, a reader is not torn away by new messages. */
const AT_END_PIXELS = 60;
const LINK = /(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/g;

export class Chat extends Emitter {
  #lobby;
  #say;
  #unread = 0;
  /** @type {{participantId: string, at: number}|null} */
  #latest = null;

  /** @param {{lobby: import("../lobby.js").Lobby, say: (text: string) => Promise<void>}} parts */
  constructor({ lobby, say }) {
    super();
    this.#lobby = lobby;
    this.#say = say;
    lobby.on("chat", ({ message, isHistory }) => this.#add(message, isHistory));
    lobby.on("note", ({ text }) => this.#append(element("li", "chat-note", text)));
    byId("chat-close").addEventListener("click", () => this.setOpen(false));
    byId("chat").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.setOpen(false);
    });
    byId("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("chat-text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    byId("chat-text").addEventListener("input", fitHeight);
    this.#renderButton();
  }

  toggle() {
    this.setOpen(byId("chat").hidden);
  }

  /** @param {boolean} open */
  setOpen(open) {
    byId("chat").hidden = !open;
    if (open) {
      this.#unread = 0;
      scrollToEnd();
      byId("chat-text").focus();
    } else if (!byId("call").hidden) {
      byId("control-chat").focus();
    }
    this.#renderButton();
  }

  /** Begin with an empty page, in another lobby. */
  clear() {
    byId("chat-messages").replaceChildren();
    byId("chat-text").value = "";
    this.#latest = null;
    this.#unread = 0;
    this.setOpen(false);
  }

  async #send() {
    const box = byId("chat-text");
    const text = box.value.trim();
    if (!text) return;
    box.value = "";
    fitHeight();
    try {
      await this.#say(text);
    } catch (error) {
      // Give the words back, unless the person is already writing the next.
      if (!box.value) box.value = text;
      fitHeight();
      toast(`Your message was not sent. ${explain(error)}`, "problem");
    }
  }

  #add(message, isHistory) {
    const isOwn = message.participant_id === this.#lobby.selfId;
    const at = Date.parse(message.sent_at);
    const continues = this.#latest?.participantId === message.participant_id && at - this.#latest.at < SAME_BREATH_MS;
    this.#latest = { participantId: message.participant_id, at };
    const item = element("li", "chat-message");
    item.dataset.own = String(isOwn);
    item.dataset.continues = String(continues);
    const time = element("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    time.dateTime = message.sent_at;
    if (!continues) item.append(element("p", "chat-author", isOwn ? "You" : message.name, " ", time));
    item.append(element("p", "chat-text", ...withLinks(message.text)));
    this.#append(item, isOwn);
    if (!isHistory && !isOwn && byId("chat").hidden) {
      this.#unread += 1;
      this.#renderButton();
    }
  }

  #append(item, forceScroll = false) {
    if (item.className === "chat-note") this.#latest = null;
    const list = byId("chat-messages");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < AT_END_PIXELS;
    list.append(item);
    if (atEnd || forceScroll) scrollToEnd();
  }

  #renderButton() {
    const button = byId("control-chat");
    const open = !byId("chat").hidden;
    const unread = this.#unread ? `, ${this.#unread} unread` : "";
    setFace(button, { symbol: "chat", label: `${open ? "Close" : "Open"} chat${unread}`, tone: open ? "on" : "plain", shortcut: "C" });
    button.setAttribute("aria-expanded", String(open));
    button.dataset.unread = this.#unread ? String(Math.min(this.#unread, 99)) : "";
    this.emit("unread", this.#unread);
  }
}

function withLinks(text) {
  return text.split(LINK).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = element("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return link;
  });
}

function fitHeight() {
  const box = byId("chat-text");
  box.style.setProperty("height", "auto");
  box.style.setProperty("height", `${Math.min(box.scrollHeight + 2, 140)}px`);
}

function scrollToEnd() {
  const list = byId("chat-messages");
  list.scrollTop = list.scrollHeight;
}
