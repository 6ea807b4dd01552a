// What of the feed is shown, and how much time: kept in the address, so that it can be shared.

export const KINDS = [
  ["phase", "Phases"], ["action", "Actions"], ["anomaly", "Anomalies"], ["stream.status", "Status"], ["stream.gap", "Gaps"], ["model", "Model"],
];
const RANGES = { "1m": 60_000, "5m": 300_000, "15m": 900_000 };

class Filters extends EventTarget {
  constructor() {
    super();
    this.#read();
    addEventListener("popstate", () => {
      this.#read();
      this.dispatchEvent(new Event("change"));
    });
  }

  #read() {
    const query = new URLSearchParams(location.search);
    this.stream = query.get("stream") ?? "";
    const kinds = query.getAll("type").map((type) => type.replace(/\.?\*$/, ""));
    this.kinds = new Set(kinds.filter((kind) => KINDS.some(([known]) => known === kind)));
    const confidence = Number(query.get("min_confidence"));
    this.minConfidence = confidence > 0 && confidence <= 1 ? confidence : 0;
    this.range = query.get("range") in RANGES ? query.get("range") : "1m";
  }

  get rangeMs() {
    return RANGES[this.range];
  }

  set(changes) {
    Object.assign(this, changes);
    const query = new URLSearchParams();
    if (this.stream) query.set("stream", this.stream);
    for (const kind of this.kinds) query.append("type", `${kind}.*`.replace(/^(stream\..*)\.\*$/, "$1"));
    if (this.minConfidence) query.set("min_confidence", String(this.minConfidence));
    if (this.range !== "1m") query.set("range", this.range);
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    this.dispatchEvent(new Event("change"));
  }

  takes(event) {
    if (this.stream && event.source !== `/streams/${this.stream}`) return false;
    const type = event.type.slice("streamer.".length);
    if (this.kinds.size && ![...this.kinds].some((kind) => type.startsWith(kind))) return false;
    // Every few dropped frames would push out all else: they show when they are asked for.
    if (!this.kinds.size && event.data.reason === "dropped" && event.data.seconds < 1) return false;
    return !(event.data.confidence < this.minConfidence);
  }
}

export const filters = new Filters();
