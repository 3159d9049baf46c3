/**
 * What the page says to a person: toasts that pass, the banner that stays while something is wrong, and a voice for
 * screen readers.
 */
import { byId, element, icon } from "./dom.js";

/** Long enough to read two lines twice. */
const TOAST_MS = 6_000;
const TOASTS_AT_ONCE = 3;

/**
 * @param {string} text
 * @param {"good"|"problem"|"plain"} [tone]
 */
export function toast(text, tone = "plain") {
  const box = byId("toasts");
  if ([...box.children].some((one) => one.textContent === text)) return;
  const symbol = { good: "check", problem: "warning" }[tone];
  const close = element("button", "quiet icon-only small", icon("close"));
  close.type = "button";
  close.setAttribute("aria-label", "Dismiss");
  const made = element("div", "toast", ...(symbol ? [icon(symbol)] : []), element("span", "", text), close);
  made.dataset.tone = tone;
  if (tone === "problem") made.setAttribute("role", "alert");
  const remove = () => made.remove();
  close.addEventListener("click", remove);
  setTimeout(remove, TOAST_MS);
  box.append(made);
  while (box.children.length > TOASTS_AT_ONCE) box.firstElementChild.remove();
}

/** Say something to screen readers only. @param {string} text */
export function announce(text) {
  byId("announcer").textContent = text;
}

/**
 * Show the banner, or hide it with null.
 * @param {{text: string, tone: "wait"|"problem"|"plain", action?: string, onAction?: () => void}|null} banner
 */
export function setBanner(banner) {
  const box = byId("banner");
  box.hidden = !banner;
  if (!banner) return;
  box.dataset.tone = banner.tone;
  if (byId("banner-text").textContent !== banner.text) byId("banner-text").textContent = banner.text;
  const button = byId("banner-action");
  button.hidden = !banner.action;
  button.textContent = banner.action ?? "";
  button.onclick = banner.onAction ?? null;
}
