// <stream-card>: a camera now, and its ribbon.

import { call, Problem, streamPath } from "./api.js";
import { duration, latency, median, percent, words } from "./format.js";
import { animate, still } from "./loop.js";
import { colourOf } from "./palette.js";
import { unwatch, watch } from "./pictures.js";
import { store } from "./store.js";
import { toast } from "./toast.js";

const SLOW_MS = 150;
const SILENT = new Set(["ended", "failed", "paused"]);
const STATES = { starting: "starting", connecting: "connecting", live: "live", reconnecting: "reconnecting", ended: "ended", failed: "failed", paused: "paused" };

class StreamCard extends HTMLElement {
  #drawnAt = 0;
  #visible = false;

  connectedCallback() {
    const id = this.streamId;
    this.append(document.getElementById("card-template").content.cloneNode(true));
    const $ = (selector) => this.querySelector(selector);
    this.parts = {
      title: $("h2"), chip: $(".chip span"), reason: $(".reason"), picture: $(".picture"), noPicture: $(".no-picture span"),
      swatch: $(".swatch"), label: $(".phase strong"), confidence: $(".phase .confidence"), since: $(".since"), top: $(".top"), badges: $(".badges"),
      pause: $('[data-do="pause"]'), remove: $('[data-do="remove"]'), wrong: $('[data-do="wrong"]'),
      fps: $('[data-fact="fps"]'), missed: $('[data-fact="missed"]'), latency: $('[data-fact="latency"]'), spark: $("latency-spark"),
    };
    const { parts } = this;
    parts.title.textContent = id;
    parts.title.id = `card-${id}`;
    this.setAttribute("role", "group");
    this.setAttribute("aria-labelledby", parts.title.id);
    const canvas = $(".picture canvas");
    canvas.setAttribute("aria-label", `Picture of ${id}`);
    $("time-ribbon").streamId = id;
    $("time-ribbon").setAttribute("aria-label", `Timeline of ${id}`);
    parts.wrong.setAttribute("aria-label", `Wrong label: what ${id} shows now`);
    parts.remove.setAttribute("aria-label", `Remove ${id}`);
    parts.remove.title = "Remove";
    parts.pause.addEventListener("click", () => this.#pause());
    parts.remove.addEventListener("click", () => this.dispatchEvent(new CustomEvent("unwanted", { bubbles: true, detail: { id } })));
    parts.wrong.addEventListener("click", () => this.#wrong());
    this.bars = [0, 1, 2].map(() => this.#bar());
    this.sight = new IntersectionObserver(([entry]) => { this.#visible = entry.isIntersecting; });
    this.sight.observe(this);
    watch(id, canvas, () => this.#visible && !this.isPaused, (has) => parts.picture.toggleAttribute("data-has", has || (this.isPaused && parts.picture.hasAttribute("data-has"))));
    animate(this);
  }

  disconnectedCallback() {
    still(this);
    this.sight.disconnect();
    unwatch(this.streamId);
  }

  get isPaused() {
    const stream = store.streams.get(this.streamId);
    return stream?.paused === true || stream?.live.state === "paused";
  }

  // What the gateway said a moment ago.
  update(stream) {
    const { live } = stream;
    const { parts } = this;
    const state = stream.paused ? "paused" : live.state;
    this.dataset.state = state;
    parts.chip.textContent = STATES[state] ?? state;
    const reason = state === "live" ? "" : [words(live.reason), live.detail].filter(Boolean).join(": ");
    parts.reason.textContent = reason;
    parts.reason.hidden = !reason;
    parts.noPicture.textContent = SILENT.has(state) ? STATES[state] : "No picture";
    const verb = this.isPaused ? "Resume" : "Pause";
    parts.pause.setAttribute("aria-label", `${verb} ${this.streamId}`);
    parts.pause.title = verb;
    // What was seen last is no news of a camera that is not watched.
    const now = SILENT.has(state) ? { top: [], actions: [], anomaly: null, fps: null } : live;
    this.#tellTop(now.top);
    this.#tellBadges(now);
    parts.fps.textContent = now.fps === null ? "–" : now.fps.toFixed(1);
    parts.missed.textContent = String(live.missing_frames);
    const middle = median(live.latencies_seconds);
    parts.latency.textContent = middle === null ? "–" : latency(middle);
    parts.latency.classList.toggle("over", middle !== null && middle > store.budget);
    const told = middle === null ? "No latencies yet" : `Latency of the last ${live.latencies_seconds.length} events: median ${latency(middle)}, budget ${latency(store.budget)}`;
    parts.spark.show(live.latencies_seconds, store.budget, told);
  }

  draw(now) {
    if (!this.#visible || now - this.#drawnAt < SLOW_MS) return;
    this.#drawnAt = now;
    this.#tellPhase();
  }

  // The phase of the newest event, so that it shows at once.
  phaseNow() {
    const { live } = store.streams.get(this.streamId) ?? {};
    if (!live || this.isPaused || SILENT.has(live.state)) return null;
    return store.timelines.get(this.streamId)?.current() ?? null;
  }

  #tellPhase() {
    const { parts } = this;
    const band = this.phaseNow();
    const live = store.streams.get(this.streamId)?.live;
    set(parts.label, band ? words(band.label) : "–");
    parts.swatch.style.background = band ? colourOf(band.label) : "";
    // What the gateway said may be older than the event.
    const isCurrent = band && live.phase?.label === band.label;
    const now = band && (isCurrent ? live.phase.confidence : band.confidence);
    set(parts.confidence, band ? percent(now) : "");
    const sure = band?.status === "provisional" ? " · provisional" : "";
    set(parts.since, band ? `for ${duration(store.now() - band.start)}${sure}` : "no phase now");
    parts.wrong.disabled = !band;
  }

  #bar() {
    const row = document.createElement("li");
    const [name, track, value] = ["name", "track", "value"].map((kind) => Object.assign(document.createElement("span"), { className: kind }));
    const fill = document.createElement("i");
    track.append(fill);
    track.setAttribute("aria-hidden", "true");
    row.append(name, track, value);
    row.hidden = true;
    this.parts.top.append(row);
    return { row, name, fill, value };
  }

  #tellTop(top) {
    this.bars.forEach(({ row, name, fill, value }, index) => {
      const found = top[index];
      row.hidden = !found;
      if (!found) return;
      set(name, words(found.label));
      set(value, percent(found.probability));
      fill.style.background = colourOf(found.label);
      fill.style.transform = `scaleX(${found.probability.toFixed(3)})`;
    });
  }

  #tellBadges({ actions, anomaly }) {
    this.toggleAttribute("data-alarm", anomaly !== null);
    const texts = actions.map(({ label, confidence }) => ["action", `${words(label)} ${percent(confidence)}`]);
    if (anomaly) texts.unshift(["anomaly", `▲ anomaly ${percent(anomaly.confidence)}`]);
    const { badges } = this.parts;
    while (badges.children.length > texts.length) badges.lastChild.remove();
    texts.forEach(([kind, text], index) => {
      const badge = badges.children[index] ?? badges.appendChild(document.createElement("li"));
      badge.dataset.kind = kind;
      set(badge, text);
    });
  }

  async #pause() {
    const verb = this.isPaused ? "resume" : "pause";
    this.parts.pause.disabled = true;
    try {
      await call("POST", streamPath(this.streamId, `/${verb}`));
      await store.look();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      toast(error.message, "bad");
    } finally {
      this.parts.pause.disabled = false;
    }
  }

  #wrong() {
    const band = this.phaseNow();
    if (band) this.dispatchEvent(new CustomEvent("wrong", { bubbles: true, detail: { id: this.streamId, kind: "phase", band } }));
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

customElements.define("stream-card", StreamCard);
