// What the page knows: the streams, a timeline of each, the newest events. Others listen to it.

import { call, Problem, streamPath } from "./api.js";
import { Link } from "./link.js";
import { learn } from "./palette.js";
import { Timeline } from "./timeline.js";

const LOOK_MS = 750;
const EVENTS_KEPT = 1000;
const PAST = "30s";
export const KEPT_MS = 15 * 60_000;
const IDS_KEPT = 256;

class Store extends EventTarget {
  streams = new Map(); // id → StreamInfo
  timelines = new Map(); // id → Timeline
  events = []; // newest last
  numEvents = 0;
  models = [];
  budget = 0.25;
  connection = "connecting";
  skewMs = 0; // of the gateway's clock to this one
  #waiting = new Map(); // id → events that came while its timeline is fetched
  #seen = new Map(); // id → ids of its last events
  #link = new Link({
    event: (event) => this.#take(event),
    rewound: () => {},
    missed: () => this.#reload(),
    state: (name) => this.#connect(name),
  });

  now = () => Date.now() + this.skewMs;

  async start() {
    this.#link.open(PAST);
    await this.look();
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, document.hidden ? 4 * LOOK_MS : LOOK_MS));
      await this.look();
    }
  }

  reconnect() {
    this.#link.open(PAST);
  }

  async look() {
    try {
      const found = await call("GET", "/v1/streams");
      this.budget = found.latency_budget_seconds;
      this.#adopt(found.streams);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error;
    }
  }

  #adopt(streams) {
    const ids = new Set(streams.map((stream) => stream.id));
    for (const id of this.streams.keys()) {
      if (!ids.has(id)) {
        this.streams.delete(id);
        this.timelines.delete(id);
        this.#seen.delete(id);
      }
    }
    for (const stream of streams) {
      this.streams.set(stream.id, stream);
      if (!this.timelines.has(stream.id)) this.#fetch(stream.id);
    }
    if (streams.some(({ live }) => live.model_id && !this.models.some((model) => model.id === live.model_id))) this.#learn();
    this.dispatchEvent(new Event("streams"));
  }

  async #learn() {
    try {
      this.models = (await call("GET", "/v1/models")).models;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return; // it is asked again with the next look
    }
    learn(this.models);
    this.dispatchEvent(new Event("models"));
  }

  async #fetch(id) {
    if (this.#waiting.has(id)) return;
    this.#waiting.set(id, []);
    try {
      const info = await call("GET", streamPath(id, "/timeline?since=15m"));
      const timeline = Timeline.of(info);
      this.skewMs = Number(info.now_ns) / 1e6 - Date.now();
      for (const event of this.#waiting.get(id)) {
        if (Number(event.sequence) >= timeline.next) timeline.take(event);
      }
      this.timelines.set(id, timeline);
    } catch (error) {
      if (!(error instanceof Problem)) throw error; // it is asked for again with the next look
    } finally {
      this.#waiting.delete(id);
    }
  }

  #take(event) {
    const id = decodeURIComponent(event.source.slice("/streams/".length));
    if (this.#repeats(id, event)) return;
    this.#waiting.get(id)?.push(event);
    const timeline = this.timelines.get(id);
    const number = Number(event.sequence);
    if (timeline && !this.#waiting.has(id)) {
      if (number === timeline.next) timeline.take(event);
      else if (number > timeline.next || number < timeline.next - IDS_KEPT) this.#again(id);
    }
    this.events.push(event);
    this.numEvents += 1;
    if (this.events.length > EVENTS_KEPT * 1.25) this.events.splice(0, this.events.length - EVENTS_KEPT);
  }

  // Events missed, or a stream that counts anew: the gateway has folded them.
  #again(id) {
    this.timelines.get(id).close();
    this.timelines.delete(id);
    this.#fetch(id);
  }

  #repeats(id, event) {
    let seen = this.#seen.get(id);
    if (!seen) this.#seen.set(id, (seen = new Set()));
    const key = `${event.sequence} ${event.id}`;
    if (seen.has(key)) return true;
    seen.add(key);
    if (seen.size > IDS_KEPT) seen.delete(seen.values().next().value);
    return false;
  }

  #reload() {
    for (const id of [...this.timelines.keys()]) this.#again(id);
  }

  #connect(name) {
    this.connection = name;
    this.dispatchEvent(new Event("connection"));
  }
}

export const store = new Store();
