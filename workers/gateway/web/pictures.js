// Previews and snapshots, fetched within a budget of requests: a camera may have no picture.

import { snapshotPath, streamPath } from "./api.js";

const PREVIEWS_PER_SECOND = 4;
const FASTEST_MS = 500;
const MISSING_MS = 5_000;
const SNAPSHOT_MS = 300;
const BURST = 14;
const AGAIN_MS = 2_000;

const previews = new Map(); // id → { canvas, isVisible, shown, due, busy }
let timer = 0;

export function watch(id, canvas, isVisible, shown) {
  previews.set(id, { canvas, isVisible, shown, due: 0, busy: false });
  timer ||= setInterval(turn, 1000 / PREVIEWS_PER_SECOND);
}

export const unwatch = (id) => previews.delete(id);

function turn() {
  if (document.hidden) return;
  const now = performance.now();
  const ready = [...previews].filter(([, view]) => !view.busy && view.due <= now && view.isVisible());
  if (!ready.length) return;
  const [id, view] = ready.reduce((first, next) => (next[1].due < first[1].due ? next : first));
  view.busy = true;
  fetchPreview(id, view).finally(() => { view.busy = false; });
}

async function fetchPreview(id, view) {
  view.due = performance.now() + FASTEST_MS;
  let response;
  try {
    response = await fetch(streamPath(id, "/preview.jpg"), { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) throw new TypeError("no picture");
    const bitmap = await createImageBitmap(await response.blob());
    if (view.canvas.width !== bitmap.width) [view.canvas.width, view.canvas.height] = [bitmap.width, bitmap.height];
    view.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    view.shown(true);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    view.due = performance.now() + wait(response);
    view.shown(false);
  }
}

const wait = (response) => Math.max(MISSING_MS, 1000 * Number(response?.headers.get("Retry-After") ?? 0));

// Snapshots: the row asked for last comes first; one that shows something else by then, never.
const queue = [];
const rests = new Map(); // id → [misses in a row, when to ask again]
let snapshotTimer = 0;
let spent = 0; // requests of late: all rows of a page at once, then a few each second

export function snapshot(image, id, { epoch, seq }) {
  const path = snapshotPath(id, epoch, seq);
  if (image.dataset.path === path) return;
  image.dataset.path = path;
  image.hidden = true;
  image.removeAttribute("src");
  enqueue({ image, id, path, tries: 0 });
}

export function noSnapshot(image) {
  if (image.dataset.path === "") return;
  image.dataset.path = "";
  image.hidden = true;
  image.removeAttribute("src");
}

function enqueue(wanted) {
  queue.push(wanted);
  if (queue.length > 50) queue.shift();
  snapshotTimer ||= setInterval(() => {
    spent = Math.max(0, spent - 1);
    next();
  }, SNAPSHOT_MS);
  next();
}

function next() {
  if (spent >= BURST) return;
  let wanted = queue.pop();
  while (wanted && (wanted.image.dataset.path !== wanted.path || (rests.get(wanted.id)?.[1] ?? 0) > performance.now())) wanted = queue.pop();
  if (!wanted) {
    if (!spent) snapshotTimer = clearInterval(snapshotTimer) ?? 0;
    return;
  }
  spent += 1;
  const { image, id, path } = wanted;
  image.onload = () => {
    rests.delete(id);
    image.hidden = image.dataset.path !== path;
  };
  image.onerror = () => {
    if (image.dataset.path !== path) return;
    // It may not be stored yet: an event is faster than its picture.
    if (wanted.tries === 0) setTimeout(() => enqueue({ ...wanted, tries: 1 }), AGAIN_MS);
    const misses = (rests.get(id)?.[0] ?? 0) + 1;
    if (misses > 4) rests.set(id, [misses, performance.now() + Math.min(60_000, 1000 * 2 ** (misses - 4))]);
    else rests.set(id, [misses, 0]);
  };
  image.src = path;
}
