// Events of one stream folded into bands: what streamer/client/timeline.py does, in the browser.
// Times are milliseconds since 1970, as fractions: a double is good for a quarter of a microsecond.

const MAX_BANDS = 1000; // of a kind: more than a ribbon has pixels
const NEWEST = 64;

export const ms = (ns) => (ns === null || ns === undefined ? null : Number(ns) / 1e6);

export class Timeline {
  constructor() {
    this.next = 0;
    this.lastMs = 0;
    this.phases = [];
    this.announced = [];
    this.actions = [];
    this.anomalies = [];
    this.gaps = [];
    this.statuses = [];
    this.changes = 0;
  }

  // From GET /v1/streams/{id}/timeline.
  static of(info) {
    const timeline = new Timeline();
    const band = (b) => ({ ...b, start: ms(b.start_ns), end: ms(b.end_ns) });
    const phases = info.phases.map(band);
    timeline.phases = phases.filter((b) => b.status !== "provisional");
    timeline.announced = phases.filter((b) => b.status === "provisional");
    for (const announced of timeline.announced) announced.end = null;
    const last = timeline.phases.at(-1);
    // It was cut where the first announcement begins, which may be taken back.
    if (last && timeline.announced.length && last.end === timeline.announced[0].start) last.end = null;
    timeline.actions = info.actions.map(band);
    timeline.anomalies = info.anomalies.map(band);
    timeline.gaps = info.gaps.map(band);
    timeline.statuses = info.statuses.map(band);
    timeline.next = info.next_sequence;
    timeline.lastMs = ms(info.last_ns);
    return timeline;
  }

  take(event) {
    const data = event.data;
    const at = ms(data.timing.captured_ns);
    this.next = Number(event.sequence) + 1;
    this.lastMs = Math.max(this.lastMs, at);
    this.changes += 1;
    switch (event.type) {
      case "streamer.phase.transition": this.#phase(data); break;
      case "streamer.action.start":
      case "streamer.action.update": put(this.actions, bandOf(data, data.label), false, at); break;
      case "streamer.action.end": put(this.actions, bandOf(data, data.label), true, at); break;
      case "streamer.anomaly.start": put(this.anomalies, bandOf(data, ""), false, at); break;
      case "streamer.anomaly.end": put(this.anomalies, bandOf(data, ""), true, at); break;
      case "streamer.stream.gap": this.#gap(data, at); break;
      case "streamer.stream.status": this.#status(data, at); break;
    }
    for (const bands of [this.phases, this.actions, this.anomalies, this.gaps, this.statuses]) {
      if (bands.length > MAX_BANDS) bands.splice(0, bands.length - MAX_BANDS);
    }
  }

  // Events were missed: what was open may have ended.
  close() {
    this.announced = [];
    for (const bands of [this.phases, this.actions, this.anomalies]) {
      for (const band of bands) band.end ??= Math.max(this.lastMs, band.start);
    }
  }

  forget(before) {
    for (const bands of [this.phases, this.actions, this.anomalies, this.gaps, this.statuses]) {
      let ended = 0;
      while (ended < bands.length && bands[ended].end !== null && bands[ended].end < before) ended += 1;
      if (ended) bands.splice(0, ended);
    }
  }

  // Confirmed phases, then the announced ones, each until the next begins. They are copies.
  phasesInOrder(since = 0) {
    const bands = newestFirst(this.phases, since).reverse().concat(this.announced)
      .map((b) => ({ ...b }))
      .sort((a, b) => a.start - b.start);
    for (let i = 0; i + 1 < bands.length; i += 1) {
      const after = bands[i + 1].start;
      if (bands[i].end === null || bands[i].end > after) bands[i].end = after;
    }
    return bands.filter((b) => b.end === null || b.end > b.start);
  }

  // The phase now: what was announced last, or the confirmed one.
  current() {
    const last = this.announced.at(-1) ?? this.phases.at(-1);
    return last && last.end === null ? last : null;
  }

  #phase(data) {
    if (data.status === "retracted") {
      this.announced = this.announced.filter((b) => !isSame(b, data.label, data.segment));
    } else if (data.status === "provisional") {
      this.announced = this.announced.filter((b) => !isSame(b, data.label, data.segment));
      this.announced.push(bandOf(data, data.label));
    } else {
      this.#confirm(data);
    }
  }

  #confirm(data) {
    const start = ms(data.segment.start_ns);
    const known = data.label === null ? null : find(this.phases, data.label, data.segment);
    if (known) {
      known.confidence = data.confidence;
      return;
    }
    if (data.previous) this.#endPrevious(data);
    for (const band of this.phases.slice(-NEWEST)) band.end ??= Math.max(start, band.start);
    if (data.label === null) {
      this.announced = [];
      return;
    }
    const matches = this.announced.filter((b) => b.label === data.label);
    const settled = matches.find((b) => isSame(b, data.label, data.segment)) ?? matches[0];
    this.announced = this.announced.filter((b) => b !== settled);
    this.phases.push(bandOf(data, data.label));
  }

  #endPrevious(data) {
    const { label, segment } = data.previous;
    let known = find(this.phases, label, segment);
    if (!known) {
      known = { ...bandOf(data, label), start_ns: segment.start_ns, start: ms(segment.start_ns), confidence: null };
      this.phases.push(known);
    }
    known.end_ns = segment.end_ns ?? data.segment.start_ns;
    known.end = ms(known.end_ns);
  }

  #gap(data, at) {
    if (data.reason === "state") this.close();
    this.gaps.push({ start: at - data.seconds * 1e3, end: at, missing_frames: data.missing_frames, reason: data.reason, policy: data.policy });
  }

  #status(data, at) {
    const last = this.statuses.at(-1);
    if (last) last.end = Math.max(at, last.start);
    this.statuses.push({ state: data.state, reason: data.reason, detail: data.detail, start: at, end: null });
  }
}

// The bands that reach past a time, without walking through all that is older.
export function newestFirst(bands, since) {
  const found = [];
  for (let i = bands.length - 1; i >= 0 && found.length < MAX_BANDS; i -= 1) {
    const { start, end } = bands[i];
    if (end === null || end >= since) found.push(bands[i]);
    else if (start < since - 600_000) break; // an older one may reach further, but not by so much
  }
  return found;
}

function bandOf(data, label) {
  const { start_ns, end_ns } = data.segment;
  return {
    label, start_ns, end_ns, start: ms(start_ns), end: ms(end_ns), confidence: data.confidence, status: data.status,
    epoch: data.frame.epoch, frame: data.frame.seq, score: data.score ?? null,
  };
}

const isSame = (band, label, segment) => band.label === label && band.start_ns === segment.start_ns;

function find(bands, label, segment) {
  for (let i = bands.length - 1; i >= Math.max(0, bands.length - NEWEST); i -= 1) {
    if (isSame(bands[i], label, segment)) return bands[i];
  }
  return null;
}

function put(bands, band, ended, at) {
  const known = find(bands, band.label, band);
  if (ended && band.end === null) band.end = Math.max(at, band.start);
  if (band.status === "retracted") {
    if (known) bands.splice(bands.lastIndexOf(known), 1);
  } else if (known) {
    bands[bands.lastIndexOf(known)] = band;
  } else {
    bands.push(band);
  }
}
