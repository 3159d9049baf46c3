/**
 * The state of the call in words: the pill in the header and the banner below it.
 *
 * Two things can break, each without the other: the WebSocket (chat, who is here) and the media (sound and pictures).
 */
import { byId } from "./dom.js";
import { setBanner } from "./notices.js";

/**
 * The first row whose condition holds is what we say.
 * @type {{when: (situation: {socket: string, media: string, soundBlocked: boolean, stopping: boolean}) => boolean,
 *         pill: [string, string], banner: {text: string, tone: "wait"|"problem"|"plain", action?: string}|null}[]}
 */
const ROWS = [
  {
    when: ({ socket, stopping }) => socket !== "open" && stopping,
    pill: ["problem", "Reconnecting"],
    banner: { text: "The server is restarting. You will be back in the call by yourself.", tone: "wait", action: "Try now" },
  },
  {
    when: ({ socket, media }) => socket !== "open" && media === "connected",
    pill: ["wait", "Reconnecting"],
    banner: { text: "The connection to the server was lost. Sound and pictures may go on while it is restored.", tone: "wait", action: "Try now" },
  },
  {
    when: ({ socket }) => socket !== "open",
    pill: ["problem", "Reconnecting"],
    banner: { text: "The connection to the server was lost. Trying again; check your network if this stays.", tone: "wait", action: "Try now" },
  },
  {
    when: ({ media }) => media === "failing",
    pill: ["problem", "No media"],
    banner: { text: "Sound and pictures do not get through. A firewall may block UDP; try another network. Still trying.", tone: "problem" },
  },
  {
    when: ({ media }) => media === "interrupted",
    pill: ["wait", "Reconnecting"],
    banner: { text: "Sound and pictures were interrupted. Reconnecting.", tone: "wait" },
  },
  {
    when: ({ soundBlocked }) => soundBlocked,
    pill: ["wait", "Sound is off"],
    banner: { text: "Your browser waits for a click before it plays sound.", tone: "plain", action: "Click to hear" },
  },
  { when: ({ media }) => media === "connecting", pill: ["wait", "Connecting"], banner: null },
  { when: () => true, pill: ["good", "Connected"], banner: null },
];

export class Status {
  #connection;
  #call;
  #speakers;
  #stopping = false;

  /**
   * @param {{connection: import("../connection.js").Connection, call: import("../call.js").Call,
   *          speakers: import("../speakers.js").Speakers, session: import("../session.js").Session}} parts
   */
  constructor({ connection, call, speakers, session }) {
    this.#connection = connection;
    this.#call = call;
    this.#speakers = speakers;
    session.on("closing", () => (this.#stopping = true));
    connection.on("ready", () => (this.#stopping = false));
    for (const source of [connection, call]) source.on("state", () => this.#render());
    speakers.on("blocked", () => this.#render());
    this.#render();
  }

  #render() {
    const situation = {
      socket: this.#connection.state,
      media: this.#call.state,
      soundBlocked: this.#speakers.blocked,
      stopping: this.#stopping,
    };
    const { pill, banner } = ROWS.find((row) => row.when(situation));
    byId("call-state").dataset.state = pill[0];
    byId("call-state-text").textContent = pill[1];
    const onAction = situation.socket !== "open" ? () => this.#connection.nudge() : () => this.#speakers.unblock();
    setBanner(banner && { ...banner, onAction });
  }
}
