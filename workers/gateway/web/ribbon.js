// <time-ribbon>: what a stream did, on a time axis that scrolls. Only what is visible is drawn, and
// only when it has moved by a pixel or changed.

import { clock, duration, percent, words } from "./format.js";
import { filters } from "./filters.js";
import { animate, hasTime, painted, still } from "./loop.js";
import { paint, GEOMETRY, isSlight } from "./painter.js";
import { store } from "./store.js";
import { newestFirst } from "./timeline.js";
import { hideTip, showTip } from "./tip.js";

const FINISHED = new Set(["ended", "failed"]);

class TimeRibbon extends HTMLElement {
  #canvas = document.createElement("canvas");
  #visible = false;
  #drawn = "";
  #pointer = null; // [x, y] in CSS pixels
  #chosen = null; // { lane, start }, by keyboard
  #width = 0;
  #drawnAt = 0;
  #followed = "";

  connectedCallback() {
    this.tabIndex = 0;
    this.setAttribute("role", "slider");
    this.setAttribute("aria-label", `Timeline of ${this.streamId}`);
    this.setAttribute("aria-roledescription", "timeline");
    this.setAttribute("aria-valuemin", "0");
    this.setAttribute("aria-valuemax", "0");
    this.setAttribute("aria-valuenow", "0");
    this.setAttribute("aria-valuetext", "Arrow keys walk through what happened");
    this.append(this.#canvas);
    this.sight = new IntersectionObserver(([entry]) => { this.#visible = entry.isIntersecting; });
    this.sight.observe(this);
    this.size = new ResizeObserver(([entry]) => { this.#width = Math.round(entry.contentRect.width); });
    this.size.observe(this);
    this.addEventListener("pointermove", (event) => this.#point(event));
    this.addEventListener("pointerleave", () => this.#leave());
    this.addEventListener("click", (event) => {
      this.#point(event);
      const found = this.#hit();
      if (found) this.#open(found);
    });
    this.addEventListener("keydown", (event) => this.#key(event));
    this.addEventListener("blur", () => { this.#chosen = null; hideTip(this); });
    animate(this);
  }

  disconnectedCallback() {
    still(this);
    this.sight.disconnect();
    this.size.disconnect();
    hideTip(this);
  }

  get timeline() {
    return store.timelines.get(this.streamId);
  }

  // The time shown: from, to.
  span() {
    const state = store.streams.get(this.streamId)?.live.state;
    const last = this.timeline?.lastMs ?? 0;
    const to = FINISHED.has(state) && last ? last + filters.rangeMs * 0.02 : store.now();
    return [to - filters.rangeMs, to];
  }

  lanes() {
    const stream = store.streams.get(this.streamId);
    const model = store.models.find(({ id }) => id === stream?.live.model_id);
    const labels = new Set(model?.actions ?? []);
    for (const { label } of newestFirst(this.timeline?.actions ?? [], store.now() - filters.rangeMs)) labels.add(label);
    return [...labels];
  }

  draw(now) {
    if (!this.#visible || !this.#width) return;
    // The pointer is followed at once, the rest no faster than it can be seen.
    const pointer = this.#pointer?.join() ?? "";
    if (pointer === this.#followed && now - this.#drawnAt < (filters.rangeMs > 60_000 ? 400 : 120)) return;
    const ratio = devicePixelRatio;
    const [from, to] = this.span();
    const step = (to - from) / ((this.#width - GEOMETRY.gutter(this.#width)) * ratio);
    const key = [
      Math.floor(to / step), this.timeline?.changes, this.#width, ratio, document.documentElement.dataset.theme,
      this.#pointer, this.#chosen?.lane, this.#chosen?.start, this.timeline === undefined, store.models.length,
    ].join();
    if (key === this.#drawn || !hasTime()) return;
    this.#drawn = key;
    this.#drawnAt = now;
    this.#followed = pointer;
    painted(this);
    this.scene = this.#scene(Math.floor(to / step) * step);
    paint(this.#canvas, this.scene, { width: this.#width, ratio, pointer: this.#pointer, chosen: this.#chosen });
    if (this.#pointer) this.#tell(this.#hit());
  }

  #scene(to) {
    const from = to - filters.rangeMs;
    const timeline = this.timeline;
    const lanes = this.lanes();
    if (!timeline) return { from, to, lanes, phases: [], actions: [], anomalies: [], gaps: [], statuses: [] };
    return {
      from, to, lanes,
      phases: timeline.phasesInOrder(from),
      actions: newestFirst(timeline.actions, from),
      anomalies: newestFirst(timeline.anomalies, from),
      gaps: newestFirst(timeline.gaps, from),
      statuses: newestFirst(timeline.statuses, from).filter(({ state }) => state !== "live"),
    };
  }

  #point(event) {
    const box = this.getBoundingClientRect();
    this.#pointer = [event.clientX - box.left, event.clientY - box.top];
  }

  #leave() {
    this.#pointer = null;
    hideTip(this);
  }

  // What is under the pointer.
  #hit() {
    if (!this.#pointer || !this.scene) return null;
    const [x, y] = this.#pointer;
    const { from, to } = this.scene;
    const gutter = GEOMETRY.gutter(this.#width);
    if (x < gutter) return null;
    const at = from + ((x - gutter) / (this.#width - gutter)) * (to - from);
    const slack = ((to - from) / this.#width) * 3;
    const holds = (band) => band.start - slack <= at && (band.end ?? to) + slack >= at;
    const lane = GEOMETRY.laneAt(y, this.scene.lanes);
    const { phases, actions, anomalies, gaps } = this.scene;
    if (lane === "anomalies") return kindOf("anomaly", anomalies.find(holds));
    const gap = gaps.find((band) => band.start <= at && band.end >= at);
    if (lane === "gaps") return kindOf("gap", gap);
    if (lane === "phases") {
      const exact = phases.find((band) => band.start <= at && (band.end ?? to) >= at);
      return gap && !isSlight(gap) ? kindOf("gap", gap) : kindOf("phase", exact);
    }
    return kindOf("action", actions.find((band) => band.label === lane && holds(band))) ?? kindOf("gap", gap);
  }

  #tell(found) {
    if (!found) {
      hideTip(this);
      return;
    }
    const box = this.getBoundingClientRect();
    showTip(this, box.left + this.#pointer[0], box.top, lines(found));
  }

  #key(event) {
    if (event.key === "Escape") {
      this.#chosen = null;
      hideTip(this);
      return;
    }
    if (!this.scene) return;
    this.scene = this.#scene(this.span()[1]); // what was drawn may be a moment old
    const tracks = this.#tracks();
    if (!tracks.length) return;
    let lane = Math.max(0, tracks.findIndex(({ name }) => name === this.#chosen?.lane));
    let items = tracks[lane].items;
    let index = items.findIndex(({ band }) => band.start === this.#chosen?.start);
    if (index < 0) index = items.length - (event.key === "ArrowLeft" ? 0 : 1);
    switch (event.key) {
      case "ArrowLeft": index -= 1; break;
      case "ArrowRight": index += 1; break;
      case "Home": index = 0; break;
      case "End": index = items.length - 1; break;
      case "ArrowUp":
      case "ArrowDown": {
        const at = items[Math.min(Math.max(index, 0), items.length - 1)].band.start;
        lane = Math.min(Math.max(lane + (event.key === "ArrowUp" ? -1 : 1), 0), tracks.length - 1);
        items = tracks[lane].items;
        index = items.findLastIndex(({ band }) => band.start <= at);
        break;
      }
      case "Enter":
      case " ":
        if (this.#chosen && items[index]) this.#open(items[index]);
        event.preventDefault();
        return;
      default: return;
    }
    event.preventDefault();
    index = Math.min(Math.max(index, 0), items.length - 1);
    this.#choose(tracks[lane], index);
  }

  #tracks() {
    const { phases, actions, anomalies, gaps, lanes } = this.scene;
    const track = (name, kind, bands) => ({
      name, items: bands.map((band) => ({ kind, band })).sort((a, b) => a.band.start - b.band.start),
    });
    return [
      track("anomalies", "anomaly", anomalies), track("phases", "phase", phases),
      ...lanes.map((label) => track(label, "action", actions.filter((band) => band.label === label))),
      track("gaps", "gap", gaps),
    ].filter(({ items }) => items.length).sort((a, b) => (b.name === "phases") - (a.name === "phases"));
  }

  #choose(track, index) {
    const found = track.items[index];
    this.#chosen = { lane: track.name, start: found.band.start };
    const text = lines(found);
    this.setAttribute("aria-valuemax", String(track.items.length - 1));
    this.setAttribute("aria-valuenow", String(index));
    this.setAttribute("aria-valuetext", text.join(", "));
    const box = this.getBoundingClientRect();
    const gutter = GEOMETRY.gutter(this.#width);
    const { from, to } = this.scene;
    const part = Math.min(Math.max((found.band.start - from) / (to - from), 0), 1);
    showTip(this, box.left + gutter + part * (this.#width - gutter), box.top, text);
  }

  #open({ kind, band }) {
    if (kind === "gap" || kind === "anomaly") return;
    this.dispatchEvent(new CustomEvent("wrong", { bubbles: true, detail: { id: this.streamId, kind, band } }));
  }
}

const kindOf = (kind, band) => (band ? { kind, band } : null);

// A title, then what is to be known of a band.
function lines({ kind, band }) {
  const until = band.end ?? store.now();
  const time = `${clock(band.start)} – ${band.end === null ? "now" : clock(band.end)} · ${duration(until - band.start)}`;
  if (kind === "gap") {
    const what = band.missing_frames ? `${band.missing_frames} frame${band.missing_frames === 1 ? "" : "s"} missing` : "Nothing was seen";
    return [what, time, `${words(band.reason)}; state: ${words(band.policy)}`];
  }
  if (kind === "anomaly") return ["Anomaly", `${percent(band.confidence)} · ${band.status}`, time];
  const sure = [percent(band.confidence), band.status].filter(Boolean).join(" · ");
  return [`${words(band.label)}`, sure, time];
}

customElements.define("time-ribbon", TimeRibbon);
