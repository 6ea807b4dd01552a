// The page: signs in, then shows what the store knows.

import "./ribbon.js";
import "./spark.js";
import "./card.js";
import "./events.js";
import { whenSignedOut } from "./api.js";
import { cameraDialog, correctionDialog, removeDialog } from "./dialogs.js";
import { filters } from "./filters.js";
import { ask, mayWrite, signIn } from "./session.js";
import { KEPT_MS, store } from "./store.js";
import { theme } from "./theme.js";

const CONNECTION = { connecting: "Connecting", live: "Connected", lost: "Reconnecting", refused: "Signed out" };
const ORDER = new Intl.Collator(undefined, { numeric: true });
const wall = document.getElementById("wall");

theme();
for (const input of document.querySelectorAll('#range input')) {
  input.checked = input.value === filters.range;
  input.addEventListener("change", () => filters.set({ range: input.value }));
}
for (const button of document.querySelectorAll(".tabs button")) {
  button.addEventListener("click", () => {
    document.body.dataset.view = button.dataset.view;
    for (const other of document.querySelectorAll(".tabs button")) other.setAttribute("aria-pressed", String(other === button));
  });
}
document.getElementById("add").addEventListener("click", () => cameraDialog.show());
document.addEventListener("wrong", ({ detail }) => { if (mayWrite()) correctionDialog.ask(detail); });
document.addEventListener("unwanted", ({ detail }) => removeDialog.ask(detail.id));
store.addEventListener("streams", cards);
store.addEventListener("connection", () => connection(store.connection));
whenSignedOut(async () => {
  if (document.getElementById("token-dialog").open) return;
  connection("refused");
  await ask("The token is no longer valid.");
  store.reconnect();
});
setInterval(() => {
  for (const timeline of store.timelines.values()) timeline.forget(store.now() - KEPT_MS - 60_000);
}, 10_000);

await signIn();
document.body.toggleAttribute("data-readonly", !mayWrite());
await store.start();

function connection(state) {
  const place = document.getElementById("connection");
  place.dataset.state = state;
  const text = CONNECTION[state];
  if (place.lastElementChild.textContent !== text) place.lastElementChild.textContent = text;
}

function cards() {
  const found = new Map([...wall.querySelectorAll("stream-card")].map((card) => [card.streamId, card]));
  for (const [id, card] of found) if (!store.streams.has(id)) card.remove();
  const ids = [...store.streams.values()].sort((a, b) => ORDER.compare(a.id, b.id));
  for (const stream of ids) {
    const { id } = stream;
    let card = found.get(id);
    if (!card) {
      card = document.createElement("stream-card");
      card.streamId = id;
      const after = [...wall.querySelectorAll("stream-card")].find((other) => ORDER.compare(other.streamId, id) > 0);
      wall.insertBefore(card, after ?? null);
    }
    card.update(stream);
  }
  welcome();
  summary();
}

function welcome() {
  const shown = wall.querySelector(".welcome");
  if (store.streams.size) shown?.remove();
  else if (!shown) {
    const place = Object.assign(document.createElement("div"), { className: "welcome" });
    place.append(
      Object.assign(document.createElement("h2"), { textContent: "No cameras yet" }),
      Object.assign(document.createElement("p"), { textContent: "Add one to see what is happening in front of it." }),
    );
    wall.append(place);
  }
}

function summary() {
  const counts = new Map();
  for (const { live, paused } of store.streams.values()) {
    const state = paused ? "paused" : live.state;
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  const num = store.streams.size;
  const parts = [`${num} camera${num === 1 ? "" : "s"}`, ...[...counts].map(([state, count]) => `${count} ${state}`)];
  const text = num ? parts.join(" · ") : "";
  const place = document.getElementById("summary");
  if (place.textContent !== text) place.textContent = text;
}
