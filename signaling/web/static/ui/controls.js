/**
 * The buttons below the call, and their keys.
 */
import { byId, setFace } from "./dom.js";

/** Keys that work wherever nobody is typing. */
const KEYS = { m: "control-microphone", v: "control-camera", c: "control-chat" };

export class Controls {
  #media;

  /**
   * @param {{media: import("../media.js").LocalMedia, onChat: () => void, onSettings: () => void,
   *          onStatistics: () => void, onLeave: () => void}} parts
   */
  constructor({ media, onChat, onSettings, onStatistics, onLeave }) {
    this.#media = media;
    const clicks = {
      "control-microphone": () => media.setMicrophone(!media.microphone.on),
      "control-camera": () => media.setCamera(!media.camera.on),
      "control-screen": () => (media.screen.track ? media.stopScreen() : media.startScreen()),
      "control-chat": onChat,
      "control-settings": onSettings,
      "control-statistics": onStatistics,
      "control-leave": onLeave,
    };
    for (const [id, onClick] of Object.entries(clicks)) byId(id).addEventListener("click", onClick);
    byId("control-screen").hidden = !media.canShareScreen;
    addEventListener("keydown", (event) => this.#press(event));
    media.on("changed", () => this.#render());
    this.#render();
  }

  #press(event) {
    const typing = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
    const modified = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
    const id = KEYS[event.key.toLowerCase()];
    if (typing || modified || !id || byId("call").hidden) return;
    event.preventDefault();
    byId(id).click();
  }

  #render() {
    const { microphone, camera, screen } = this.#media;
    setFace(byId("control-microphone"), {
      symbol: microphone.on ? "microphone" : "microphone-off",
      label: microphone.on ? "Turn microphone off" : "Turn microphone on",
      tone: microphone.on ? "plain" : "off",
      shortcut: "M",
    });
    setFace(byId("control-camera"), {
      symbol: camera.on ? "camera" : "camera-off",
      label: camera.on ? "Turn camera off" : "Turn camera on",
      tone: camera.on ? "plain" : "off",
      shortcut: "V",
    });
    setFace(byId("control-screen"), {
      symbol: "screen",
      label: screen.track ? "Stop sharing your screen" : "Share your screen",
      tone: screen.track ? "on" : "plain",
    });
    for (const source of [microphone, camera]) {
      byId(`control-${source.name}`).dataset.problem = String(Boolean(source.problem));
      byId(`control-${source.name}`).setAttribute("aria-busy", String(source.starting));
    }
  }
}
