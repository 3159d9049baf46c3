/**
 * Where the tiles go: sizes and positions for any number of people in any window. Pure arithmetic.
 *
 * The grid takes the number of columns that shows the most picture. Tiles may be a little narrower than 16:9 (pictures
 * are cropped by `object-fit: cover`), in upright windows down to almost square. With a spotlight the first tile takes
 * the window and the others a strip at its longer end.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Rectangle
 * @typedef {{rectangles: Rectangle[], height: number}} Arrangement height: of the content; it scrolls when that is more
 *   than the window's
 */

const WIDEST = 16 / 9;
const NARROWEST = 4 / 3;
/** In an upright window (a phone) a tile may be this narrow. */
const NARROWEST_UPRIGHT = 0.8;
const GAP = 10;
/** Smaller tiles show nobody; from here on the grid scrolls. */
const SMALLEST_WIDTH = 128;
/** The strip's share of the window beside a spotlight. */
const STRIP_SHARE = 0.2;
const STRIP_SMALLEST = 96;

/**
 * @param {number} count of tiles
 * @param {number} width of the window
 * @param {number} height of the window
 * @param {boolean} [spotlight] whether the first tile is shown large
 * @returns {Arrangement}
 */
export function arrange(count, width, height, spotlight = false) {
  if (count === 0 || width <= 0 || height <= 0) return { rectangles: [], height: 0 };
  if (spotlight && count > 1) return arrangeSpotlight(count, width, height);
  return arrangeGrid(count, width, height);
}

function arrangeGrid(count, width, height) {
  const narrowest = height > width ? NARROWEST_UPRIGHT : NARROWEST;
  let best = null;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const tile = fit((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows, narrowest);
    const holes = columns * rows - count;
    // Of two equal areas the fuller grid is calmer to look at.
    const score = tile.width * tile.height * (1 - holes * 0.01);
    if (!best || score > best.score) best = { columns, rows, tile, score };
  }
  if (best.tile.width < SMALLEST_WIDTH) return arrangeScrolling(count, width, height);
  return place(count, best.columns, best.tile, width, height);
}

function arrangeScrolling(count, width, height) {
  const columns = Math.max(1, Math.floor((width + GAP) / (SMALLEST_WIDTH + GAP)));
  const tileWidth = (width - GAP * (columns - 1)) / columns;
  return place(count, columns, { width: tileWidth, height: tileWidth / NARROWEST }, width, height);
}

/** Rows from the top; the whole in the middle of the window, and an incomplete last row in the middle of the whole. */
function place(count, columns, tile, width, height) {
  const rows = Math.ceil(count / columns);
  const total = rows * tile.height + (rows - 1) * GAP;
  const top = Math.max(0, (height - total) / 2);
  const rectangles = [];
  for (let index = 0; index < count; index += 1) {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = (width - inRow * tile.width - (inRow - 1) * GAP) / 2;
    rectangles.push({
      x: left + (index - row * columns) * (tile.width + GAP),
      y: top + row * (tile.height + GAP),
      ...tile,
    });
  }
  return { rectangles, height: Math.max(height, total) };
}

function arrangeSpotlight(count, width, height) {
  const upright = height > width;
  const strip = Math.max(STRIP_SMALLEST, (upright ? height : width) * STRIP_SHARE);
  const large = upright
    ? { x: 0, y: 0, width, height: height - strip - GAP }
    : { x: 0, y: 0, width: width - strip - GAP, height };
  const others = upright ? arrangeGrid(count - 1, width, strip) : arrangeGrid(count - 1, strip, height);
  const shifted = others.rectangles.map((one) => ({
    ...one,
    x: one.x + (upright ? 0 : large.width + GAP),
    y: one.y + (upright ? large.height + GAP : 0),
  }));
  return { rectangles: [large, ...shifted], height: Math.max(height, others.height + (upright ? large.height + GAP : 0)) };
}

/** The largest tile in a cell whose proportions are allowed. */
function fit(width, height, narrowest) {
  if (width <= 0 || height <= 0) return { width: 0, height: 0 };
  if (width / height > WIDEST) return { width: height * WIDEST, height };
  if (width / height < narrowest) return { width, height: width / narrowest };
  return { width, height };
}
