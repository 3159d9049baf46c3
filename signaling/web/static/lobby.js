/**
 * What we know about the lobby we are in: participants, their tracks, who speaks, the chat.
 *
 * A plain store: the server's events go in through `apply`, views read the fields and listen for `changed` (people
 * and tracks), `chat` (a new message) and `note` ({text}: somebody came or went).
 *
 * @typedef {{track_id: string, kind: "audio"|"video", source: string, muted: boolean, in_slots: boolean,
 *           muted_by_server: boolean}} Track
 * @typedef {{participant_id: string, name: string, is_bot: boolean, joined_at: string, tracks: Track[], speaking: boolean,
 *           muted: boolean}} Participant
 * @typedef {{seq: number, participant_id: string, name: string, text: string, sent_at: string}} ChatMessage
 */
import { Emitter } from "./emitter.js";

/** Older messages leave the page, so that a long day does not fill its memory. */
const CHAT_MESSAGES_KEPT = 500;

export class Lobby extends Emitter {
  name = "";
  selfId = "";
  /** How many sections it takes to hear whoever speaks. */
  audioSlots = 0;
  /** Ids of those who speak to us alone, which is heard in the mix only. @type {string[]} */
  whisperers = [];
  /** @type {Map<string, Participant>} */
  participants = new Map();
  /** @type {ChatMessage[]} */
  chat = [];

  /** Everyone but ourselves, in the order in which they came. */
  get others() {
    return [...this.participants.values()].filter((participant) => participant.participant_id !== this.selfId);
  }

  /** @returns {Participant|undefined} */
  get self() {
    return this.participants.get(this.selfId);
  }

  /** Tracks of the others that are not heard through the audio slots. @returns {Track[]} */
  get tracksByName() {
    return this.others.flatMap((participant) => participant.tracks).filter((track) => !track.in_slots);
  }

  /**
   * Take over what the server says is true, after joining or resuming.
   * @param {{lobby: string, participant_id: string, participants: Participant[], audio_slots: number, chat: ChatMessage[]}} snapshot
   * @param {string[]} [whisperers] see there; after joining there are none
   */
  reset(snapshot, whisperers = []) {
    if (snapshot.lobby !== this.name) this.chat = [];
    this.name = snapshot.lobby;
    this.selfId = snapshot.participant_id;
    this.audioSlots = snapshot.audio_slots;
    this.whisperers = whisperers;
    this.participants = new Map(snapshot.participants.map((one) => [one.participant_id, { ...one }]));
    this.emit("changed");
    const known = this.chat.at(-1)?.seq ?? 0;
    const restarted = (snapshot.chat.at(-1)?.seq ?? 0) < known; // a new server counts from the beginning
    if (restarted) this.chat = [];
    for (const message of snapshot.chat) if (restarted || message.seq > known) this.#keep(message, true);
  }

  /** Forget everything, after leaving. */
  clear() {
    this.reset({ lobby: "", participant_id: "", participants: [], audio_slots: 0, chat: [] });
  }

  /**
   * Apply one event from the server. Types that are not about the lobby are ignored.
   * @param {string} type
   * @param {any} data
   */
  apply(type, data) {
    if (Object.hasOwn(this.#handlers, type)) this.#handlers[type](data);
  }

  /** @type {Record<string, (data: any) => void>} */
  #handlers = {
    participant_joined: ({ participant }) => {
      const isNew = !this.participants.has(participant.participant_id);
      this.participants.set(participant.participant_id, { ...participant });
      this.emit("changed");
      if (isNew && participant.participant_id !== this.selfId) this.emit("note", { text: `${participant.name} joined` });
    },
    participant_left: ({ participant_id }) => {
      const participant = this.participants.get(participant_id);
      if (!participant) return;
      this.participants.delete(participant_id);
      this.emit("changed");
      this.emit("note", { text: `${participant.name} left` });
    },
    participant_updated: ({ participant }) => {
      if (!this.participants.has(participant.participant_id)) return;
      this.participants.set(participant.participant_id, { ...participant });
      this.emit("changed");
    },
    track_published: ({ participant_id, track }) => this.#putTrack(participant_id, track),
    track_updated: ({ participant_id, track }) => this.#putTrack(participant_id, track),
    track_unpublished: ({ participant_id, track_id }) => {
      const participant = this.participants.get(participant_id);
      if (!participant) return;
      participant.tracks = participant.tracks.filter((track) => track.track_id !== track_id);
      this.emit("changed");
    },
    speaking: ({ participant_id, speaking }) => {
      const participant = this.participants.get(participant_id);
      if (!participant || participant.speaking === speaking) return;
      participant.speaking = speaking;
      this.emit("changed");
    },
    private_audio: ({ participant_ids }) => {
      this.whisperers = participant_ids;
      this.emit("changed");
    },
    chat: ({ message }) => this.#keep(message, false),
  };

  #putTrack(participantId, track) {
    const participant = this.participants.get(participantId);
    if (!participant) return;
    const others = participant.tracks.filter((one) => one.track_id !== track.track_id);
    participant.tracks = [...others, track];
    this.emit("changed");
  }

  #keep(message, isHistory) {
    if (this.chat.some((one) => one.seq === message.seq)) return;
    this.chat.push(message);
    if (this.chat.length > CHAT_MESSAGES_KEPT) this.chat.shift();
    this.emit("chat", { message, isHistory });
  }
}
