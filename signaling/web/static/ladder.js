/**
 * How large and how costly our camera picture may be, by the number of people who share the call.
 *
 * Everybody receives everybody's picture, so what one person downloads grows with the number of people, while the tile
 * that shows it shrinks.
 */

/** @type {{upTo: number, height: number, bitrate: number}[]} participants, lines, bit/s */
export const LADDER = [
  { upTo: 2, height: 720, bitrate: 1_500_000 },
  { upTo: 4, height: 540, bitrate: 900_000 },
  { upTo: 9, height: 360, bitrate: 450_000 },
  { upTo: Infinity, height: 180, bitrate: 180_000 },
];

/**
 * Bring a camera's sender to the rung for so many people. Cheap when nothing changes.
 * @param {RTCRtpSender} sender
 * @param {number} participants
 */
export async function limitEncoding(sender, participants) {
  const { height, bitrate } = LADDER.find((rung) => participants <= rung.upTo);
  const scale = Math.max(1, (sender.track?.getSettings().height ?? height) / height);
  const parameters = sender.getParameters();
  const encoding = parameters.encodings?.[0];
  if (!encoding) return; // before the first negotiation some browsers have none
  if (encoding.maxBitrate === bitrate && encoding.scaleResolutionDownBy === scale) return;
  Object.assign(encoding, { maxBitrate: bitrate, scaleResolutionDownBy: scale });
  await sender.setParameters(parameters);
}
