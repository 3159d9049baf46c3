/** The few things that views do with the document again and again. */

/**
 * @param {string} id
 * @returns {any} the element; a missing one is a mistake in index.html
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element #${id}`);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * One of the symbols in index.html.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.classList.add("icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} className
 * @param {...(Node|string)} content strings become text, never markup
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, className, ...content) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...content);
  return made;
}

/**
 * Give a button its icon, its name and its colour; the name doubles as tooltip. The name says what a click does, so
 * there is no `aria-pressed`, which would say it a second time and the other way round.
 * @param {HTMLButtonElement} button
 * @param {{symbol: string, label: string, tone?: "plain"|"on"|"off", shortcut?: string}} face
 */
export function setFace(button, { symbol, label, tone = "plain", shortcut }) {
  button.querySelector(".icon")?.remove();
  button.prepend(icon(symbol));
  button.setAttribute("aria-label", label);
  button.title = shortcut ? `${label} (${shortcut})` : label;
  button.dataset.tone = tone;
}
