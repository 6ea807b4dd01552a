// Add a camera, remove one, say what a label should have been.

import { call, Problem, snapshotPath, streamPath } from "./api.js";
import { clock, duration, percent, words } from "./format.js";
import { colourOf } from "./palette.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

class FormDialog {
  constructor(id) {
    this.dialog = document.getElementById(id);
    this.form = this.dialog.querySelector("form");
    this.problem = this.dialog.querySelector(".problem");
    for (const button of this.dialog.querySelectorAll('[data-do="close"]')) button.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("pointerdown", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside it
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.work(() => this.submit());
    });
  }

  show() {
    this.tell("");
    this.dialog.showModal();
    this.form.querySelector("input")?.focus(); // rather than the button that closes it
  }

  tell(text) {
    this.problem.textContent = text;
    this.problem.hidden = !text;
  }

  // One request at a time; what the gateway refuses is told here.
  async work(request) {
    this.tell("");
    const buttons = [...this.form.querySelectorAll("footer button")].filter((button) => button.dataset.do !== "close");
    for (const button of buttons) button.disabled = true;
    try {
      await request();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.tell(error.message);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}

class CameraDialog extends FormDialog {
  constructor() {
    super("camera-dialog");
    this.probe = this.dialog.querySelector(".probe");
    this.form.querySelector('[data-do="probe"]').addEventListener("click", () => this.work(() => this.test()));
  }

  show() {
    this.form.reset();
    this.probe.replaceChildren();
    super.show();
  }

  asked() {
    const { source, id, credentials } = this.form.elements;
    if (!source.value.trim()) {
      source.focus();
      throw new Problem(0, "Address: expected one, for example rtsp://camera.local/stream");
    }
    const asked = { source: source.value.trim() };
    if (id.value.trim()) asked.id = id.value.trim();
    if (credentials.value.trim()) asked.credentials = credentials.value.trim();
    return asked;
  }

  async test() {
    const { source, credentials } = this.asked();
    this.probe.textContent = "Looking …";
    try {
      const found = await call("POST", "/v1/streams/probe", credentials ? { source, credentials } : { source });
      this.probe.replaceChildren(facts(Object.entries(found).filter(([, value]) => value !== null && typeof value !== "object").map(([name, value]) => [words(name), String(value)])));
    } catch (error) {
      this.probe.replaceChildren();
      throw error;
    }
  }

  async submit() {
    const added = await call("POST", "/v1/streams", this.asked());
    this.dialog.close();
    toast(`${added.id} is added.`);
    await store.look();
  }
}

class RemoveDialog extends FormDialog {
  constructor() {
    super("remove-dialog");
  }

  ask(id) {
    this.id = id;
    this.dialog.querySelector("h2").textContent = `Remove ${id}?`;
    this.show();
  }

  async submit() {
    await call("DELETE", streamPath(this.id));
    this.dialog.close();
    toast(`${this.id} is removed.`);
    await store.look();
  }
}

class CorrectionDialog extends FormDialog {
  constructor() {
    super("correction-dialog");
    this.image = this.dialog.querySelector("img");
    this.image.addEventListener("load", () => this.#picture(true));
    this.image.addEventListener("error", () => this.#picture(false));
    this.form.elements.other.addEventListener("input", () => {
      for (const choice of this.form.querySelectorAll('[name="label"]')) choice.checked = false;
    });
  }

  ask({ id, kind, band }) {
    this.about = { id, kind, band };
    this.form.reset();
    const end = band.end ?? store.now();
    this.dialog.querySelector(".seen dl").replaceChildren(...facts([
      ["camera", id], [kind, words(band.label)], ["sure", [percent(band.confidence), band.status].filter(Boolean).join(" · ")],
      ["time", clock(band.start)], ["lasted", band.end === null ? `${duration(end - band.start)} so far` : duration(end - band.start)],
    ]).children);
    this.#choices(id, kind, band.label);
    this.#picture(false);
    this.image.src = snapshotPath(id, band.epoch, band.frame);
    this.form.elements.start.value = timeText(band.start);
    this.form.elements.end.value = timeText(end);
    this.until = end;
    this.show();
  }

  #picture(has) {
    this.image.hidden = !has;
    this.image.parentElement.toggleAttribute("data-has", has);
  }

  #choices(id, kind, wrong) {
    const model = store.models.find((known) => known.id === store.streams.get(id)?.live.model_id);
    const labels = (kind === "phase" ? model?.phases : model?.actions) ?? [];
    this.dialog.querySelector(".choices").replaceChildren(...labels.filter((label) => label !== wrong).map((label) => {
      const choice = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "label", value: label });
      const text = document.createElement("span");
      if (kind === "phase") {
        const swatch = document.createElement("i");
        swatch.style.background = colourOf(label);
        text.append(swatch);
      }
      text.append(words(label));
      choice.append(input, text);
      input.addEventListener("change", () => { this.form.elements.other.value = ""; });
      return choice;
    }));
  }

  async submit() {
    const { id, kind, band } = this.about;
    const { other, start, end } = this.form.elements;
    const label = other.value.trim() || this.form.querySelector('[name="label"]:checked')?.value;
    if (!label) throw new Problem(0, "Choose what it was, or write another label.");
    const from = moment(start.value, band.start, band.start_ns);
    const to = moment(end.value, this.until, band.end_ns);
    if (BigInt(to) <= BigInt(from)) throw new Problem(0, "Until: expected a time after From.");
    const row = await call("POST", streamPath(id, "/corrections"), { label, kind, start_ns: from, end_ns: to });
    this.dialog.close();
    toast(`Saved: ${row.label}, ${row.start.toFixed(1)} s to ${row.end.toFixed(1)} s of ${row.video}.`);
  }
}

function facts(pairs) {
  const list = document.createElement("dl");
  for (const [name, value] of pairs) {
    if (!value) continue;
    list.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }));
  }
  return list;
}

function timeText(at) {
  const date = new Date(Math.round(at / 100) * 100);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${Math.floor(date.getMilliseconds() / 100)}`;
}

// Nanoseconds of a time of day near a moment; those it was made from, if nobody changed it.
function moment(text, near, ns) {
  if (text === timeText(near)) return ns ?? `${Math.round(near)}000000`;
  const found = /^([01]?\d|2[0-3]):([0-5]\d):([0-5]\d(?:\.\d{1,3})?)$/.exec(text.trim());
  if (!found) throw new Problem(0, `Expected a time such as 14:05:09.5, found ${text || "nothing"}.`);
  const [hours, minutes, seconds] = found.slice(1).map(Number);
  const date = new Date(near);
  date.setHours(hours, minutes, 0, Math.round(seconds * 1000));
  const away = date.getTime() - near;
  const day = 86_400_000;
  const shift = away > day / 2 ? -day : away < -day / 2 ? day : 0;
  return `${date.getTime() + shift}000000`;
}

export const cameraDialog = new CameraDialog();
export const removeDialog = new RemoveDialog();
export const correctionDialog = new CorrectionDialog();
