// The event stream. EventSource connects again by itself, and resumes from its last id.

const TYPES = [
  "action.start", "action.update", "action.end", "phase.transition", "anomaly.start", "anomaly.end",
  "stream.status", "stream.gap", "model.changed",
].map((type) => `streamer.${type}`);
const AGAIN_MS = 2000;

export class Link {
  #source = null;
  #lastId = "";
  #timer = 0;

  // `told` has event(event), rewound(), missed(), state(name).
  constructor(told) {
    this.told = told;
  }

  open(since) {
    this.close();
    const query = this.#lastId || since;
    this.told.state(this.#lastId ? "lost" : "connecting");
    const source = new EventSource(`/v1/events?${new URLSearchParams({ since: query })}`);
    this.#source = source;
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        this.#lastId = message.lastEventId;
        this.told.event(JSON.parse(message.data));
      });
    }
    source.onopen = () => this.told.state("live");
    source.addEventListener("rewind", (message) => {
      this.#lastId = message.lastEventId;
      this.told.rewound();
    });
    source.addEventListener("gap", () => this.told.missed());
    source.onerror = () => {
      this.told.state("lost");
      // Refused, for example with a cursor that is no more: the browser does not try again.
      if (source.readyState === EventSource.CLOSED) this.#again(since);
    };
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #again(since) {
    this.close();
    this.#timer = setTimeout(() => this.open(since), AGAIN_MS);
  }
}
