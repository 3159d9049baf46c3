/** Initials on a colour of one's own, where there is no picture. */

/**
 * @param {string} name
 * @returns {string} up to two letters; the first letters of the first and the last word
 */
export function initials(name) {
  const words = name.split(/[\s._-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const ends = words.length > 1 ? [words[0], words.at(-1)] : words;
  const letters = ends.map((word) => word.match(/[\p{L}\p{N}]/u)[0]);
  return letters.join("").toLocaleUpperCase() || "?";
}

/**
 * @param {HTMLElement} avatar
 * @param {string} name the same name has the same colour everywhere
 */
export function paintAvatar(avatar, name) {
  if (avatar.dataset.name === name) return;
  avatar.dataset.name = name;
  avatar.textContent = initials(name);
  avatar.style.setProperty("--hue", String(hue(name)));
}

function hue(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 3_600;
  return hash / 10;
}
