/**
 * The dialog for devices and sound.
 */
import { Speakers } from "../speakers.js";
import { byId, element } from "./dom.js";

/** @type {{id: string, kind: MediaDeviceKind, preference: "microphoneId"|"cameraId"|"speakerId"}[]} */
const LISTS = [
  { id: "settings-microphone", kind: "audioinput", preference: "microphoneId" },
  { id: "settings-camera", kind: "videoinput", preference: "cameraId" },
  { id: "settings-speaker", kind: "audiooutput", preference: "speakerId" },
];

export class Settings {
  #media;
  #preferences;
  #dialog = byId("settings");

  /**
   * @param {{media: import("../media.js").LocalMedia, speakers: Speakers,
   *          preferences: import("../preferences.js").Preferences}} parts
   */
  constructor({ media, speakers, preferences }) {
    this.#media = media;
    this.#preferences = preferences;
    speakers.choose(preferences.get("speakerId"));
    byId("settings-microphone").addEventListener("change", ({ target }) => media.choose("microphone", target.value));
    byId("settings-camera").addEventListener("change", ({ target }) => media.choose("camera", target.value));
    byId("settings-speaker").addEventListener("change", ({ target }) => {
      preferences.set({ speakerId: target.value });
      speakers.choose(target.value);
    });
    byId("settings-processing").addEventListener("change", ({ target }) => media.setProcessing(target.checked));
    byId("settings-speaker-field").hidden = !Speakers.canChoose;
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // the backdrop
    });
    media.on("devices", () => this.#fill());
    media.on("changed", () => this.#fill());
  }

  open() {
    byId("settings-processing").checked = this.#preferences.get("processing");
    this.#dialog.showModal();
    this.#fill();
  }

  async #fill() {
    if (!this.#dialog.open) return;
    const devices = await this.#media.devices();
    for (const { id, kind, preference } of LISTS) {
      const usable = devices.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default");
      fillSelect(byId(id), usable, this.#preferences.get(preference));
    }
  }
}

function fillSelect(select, devices, chosen) {
  const choices = [{ deviceId: "", label: devices.length ? "System default" : "None found" }, ...devices];
  const options = choices.map(({ deviceId, label }, index) => {
    const option = element("option", "", label || `Device ${index}`);
    option.value = deviceId;
    option.selected = deviceId === chosen;
    return option;
  });
  select.replaceChildren(...options);
  select.disabled = !devices.length;
}
