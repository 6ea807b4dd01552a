// <event-feed>: the newest events. Rows are recycled: as many stand in the page as are visible.

import { KINDS, filters } from "./filters.js";
import { clock, duration, percent, words } from "./format.js";
import { animate } from "./loop.js";
import { colourOf } from "./palette.js";
import { noSnapshot, snapshot } from "./pictures.js";
import { store } from "./store.js";
import { ms } from "./timeline.js";

const ROW = 64;
const RENDER_MS = 250;
const SHOWN = 500;

class EventFeed extends HTMLElement {
  #rows = []; // events shown, newest first
  #upTo = -1; // numEvents when they were taken
  #pool = [];
  #drawnAt = 0;
  #stale = true;
  #pointed = false;

  connectedCallback() {
    this.append(document.getElementById("feed-template").content.cloneNode(true));
    const $ = (selector) => this.querySelector(selector);
    this.parts = { fresh: $(".fresh"), form: $("form"), scroller: $(".scroller"), list: $("ol"), empty: $(".empty"), least: $(".filter-confidence b") };
    const { scroller, fresh, form } = this.parts;
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", "Events");
    this.#kinds();
    scroller.addEventListener("scroll", () => { this.#stale = true; }, { passive: true });
    this.parts.list.addEventListener("pointerenter", (event) => { this.#pointed = event.pointerType === "mouse"; });
    this.parts.list.addEventListener("pointerleave", () => { this.#pointed = false; });
    fresh.addEventListener("click", () => {
      scroller.scrollTop = 0;
      scroller.focus();
      this.#pointed = false;
      this.#upTo = -1;
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.#filter());
    filters.addEventListener("change", () => this.#showFilters());
    store.addEventListener("streams", () => this.#streams());
    store.addEventListener("models", () => {
      for (const row of this.#pool) row.event = null; // their colours are known only now
      this.#stale = true;
    });
    new ResizeObserver(() => { this.#stale = true; }).observe(scroller);
    addEventListener("theme", () => { this.#stale = true; });
    this.#showFilters();
    animate(this);
  }

  // Nothing moves under a hand, or away from somebody who reads further down.
  get isHeld() {
    const { scroller, list } = this.parts;
    return scroller.scrollTop > 4 || this.#pointed || list.contains(document.activeElement);
  }

  draw(now) {
    const news = store.numEvents !== this.#upTo;
    if (!news && !this.#stale) return;
    if (!this.#stale && now - this.#drawnAt < RENDER_MS) return;
    if (!this.parts.scroller.clientHeight) return; // not shown
    if (news && (!this.isHeld || this.#upTo < 0) && now - this.#drawnAt >= RENDER_MS) {
      this.#drawnAt = now;
      this.#take();
    }
    this.#stale = false;
    this.#place();
    this.#tellFresh();
  }

  #take() {
    this.#upTo = store.numEvents;
    this.#rows = [];
    for (let i = store.events.length - 1; i >= 0 && this.#rows.length < SHOWN; i -= 1) {
      if (filters.takes(store.events[i])) this.#rows.push(store.events[i]);
    }
    this.parts.list.style.height = `${this.#rows.length * ROW}px`;
    this.parts.empty.hidden = this.#rows.length > 0;
  }

  #tellFresh() {
    const { fresh } = this.parts;
    const missed = Math.min(store.numEvents - this.#upTo, store.events.length);
    const news = missed > 0 ? store.events.slice(-missed).filter((event) => filters.takes(event)).length : 0;
    fresh.hidden = news === 0;
    fresh.textContent = `${news} new`;
  }

  #place() {
    const { scroller, list } = this.parts;
    const size = Math.ceil(scroller.clientHeight / ROW) + 2;
    while (this.#pool.length < size) this.#pool.push(this.#row());
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - 1);
    const wanted = this.#rows.slice(first, first + this.#pool.length);
    // A row keeps its event while that is visible: only what is new is written.
    const kept = new Map(this.#pool.filter(({ event }) => event).map((row) => [row.event, row]));
    const taken = new Set(wanted.map((event) => kept.get(event)));
    const free = this.#pool.filter((row) => !taken.has(row));
    wanted.forEach((event, index) => {
      const row = kept.get(event) ?? free.pop();
      if (row.event !== event) this.#fill(row, event);
      row.element.hidden = false;
      row.element.style.transform = `translateY(${(first + index) * ROW}px)`;
      if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
    });
    for (const row of free) row.element.hidden = true;
  }

  #row() {
    const element = document.createElement("li");
    element.append(document.getElementById("row-template").content.cloneNode(true));
    const $ = (selector) => element.querySelector(selector);
    const row = {
      element, event: null, image: $("img"), glyph: $(".thumb i"), thumb: $(".thumb"), title: $("b"), status: $(".row-status"),
      detail: $(".row-detail"), confidence: $(".row-confidence"), time: $("time"), wrong: $(".row-wrong"),
    };
    row.wrong.title = "Wrong label";
    row.wrong.addEventListener("click", () => {
      const { kind, band, id } = bandOf(row.event);
      this.dispatchEvent(new CustomEvent("wrong", { bubbles: true, detail: { id, kind, band } }));
    });
    return row;
  }

  #fill(row, event) {
    row.event = event;
    const { data } = event;
    const told = tell(event);
    const id = event.source.slice("/streams/".length);
    row.title.textContent = told.title;
    row.glyph.textContent = told.glyph;
    row.detail.textContent = [id, told.detail].filter(Boolean).join(" · ");
    row.status.textContent = data.status === "confirmed" ? "" : data.status ?? "";
    row.element.dataset.status = data.status ?? "";
    row.confidence.textContent = percent(data.confidence);
    row.time.textContent = clock(Date.parse(event.time));
    row.time.dateTime = event.time;
    row.thumb.style.setProperty("--row-colour", told.colour);
    row.wrong.hidden = !told.isLabel;
    row.wrong.setAttribute("aria-label", `Wrong label: ${told.title}, ${id}, ${row.time.textContent}`);
    if (data.links?.snapshot) snapshot(row.image, id, data.frame);
    else noSnapshot(row.image);
  }

  #kinds() {
    const place = this.querySelector(".filter-types");
    for (const [kind, name] of KINDS) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "checkbox", name: "type", value: kind });
      label.append(input, Object.assign(document.createElement("span"), { textContent: name }));
      place.append(label);
    }
  }

  #filter() {
    const { elements } = this.parts.form;
    filters.set({
      stream: elements.stream.value,
      kinds: new Set([...elements.type].filter(({ checked }) => checked).map(({ value }) => value)),
      minConfidence: Number(elements.min_confidence.value) / 100,
    });
  }

  #showFilters() {
    const { form, least, scroller } = this.parts;
    this.#streams();
    for (const input of form.elements.type) input.checked = filters.kinds.has(input.value);
    form.elements.min_confidence.value = String(Math.round(filters.minConfidence * 100));
    least.textContent = percent(filters.minConfidence);
    form.elements.min_confidence.setAttribute("aria-valuetext", least.textContent);
    scroller.scrollTop = 0;
    this.#upTo = -1;
    this.#drawnAt = 0;
    this.#stale = true;
  }

  #streams() {
    const { stream } = this.parts.form.elements;
    const ids = ["", ...new Set([...store.streams.keys(), ...(filters.stream ? [filters.stream] : [])])];
    const options = [...stream.options].map(({ value }) => value);
    if (ids.join("\n") !== options.join("\n")) stream.replaceChildren(...ids.map((id) => new Option(id || "All cameras", id)));
    stream.value = filters.stream;
  }
}

// An event in words.
function tell({ type, data }) {
  const kind = type.slice("streamer.".length);
  switch (kind) {
    case "phase.transition": {
      const after = data.previous ? `after ${words(data.previous.label)}` : "";
      if (data.label === null) return { title: "no phase", glyph: "→", detail: after, colour: "transparent", isLabel: false };
      return { title: words(data.label), glyph: "→", detail: after, colour: colourOf(data.label), isLabel: true };
    }
    case "action.start":
    case "action.update": return { title: words(data.label), glyph: "▶", detail: "starts", colour: "var(--action)", isLabel: true };
    case "action.end": {
      const length = data.segment.end_ns ? ms(data.segment.end_ns) - ms(data.segment.start_ns) : 0;
      return { title: words(data.label), glyph: "■", detail: `ends after ${duration(length)}`, colour: "var(--action)", isLabel: true };
    }
    case "anomaly.start": return { title: "Anomaly", glyph: "▲", detail: "begins", colour: "var(--bad-dot)", isLabel: false };
    case "anomaly.end": return { title: "Anomaly", glyph: "△", detail: "is over", colour: "var(--bad-dot)", isLabel: false };
    case "stream.status": return { title: words(data.state), glyph: "●", detail: words(data.reason), colour: "transparent", isLabel: false };
    case "stream.gap": {
      const what = data.missing_frames ? `${data.missing_frames} frame${data.missing_frames === 1 ? "" : "s"} missing` : "gap";
      return { title: what, glyph: "▨", detail: `${words(data.reason)}, ${duration(data.seconds * 1000)}`, colour: "transparent", isLabel: false };
    }
    default: return { title: "Another model", glyph: "↻", detail: data.model_id, colour: "transparent", isLabel: false };
  }
}

function bandOf({ source, type, data }) {
  const { start_ns, end_ns } = data.segment;
  return {
    id: source.slice("/streams/".length),
    kind: type.startsWith("streamer.phase") ? "phase" : "action",
    band: {
      label: data.label, start_ns, end_ns, start: ms(start_ns), end: ms(end_ns), confidence: data.confidence,
      status: data.status, epoch: data.frame.epoch, frame: data.frame.seq,
    },
  };
}

customElements.define("event-feed", EventFeed);
