// A line that goes by itself. The place it stands in is announced by screen readers.

const place = document.getElementById("toasts");
const SHOWN_MS = 6000;

export function toast(text, kind = "") {
  const line = Object.assign(document.createElement("p"), { className: "toast", textContent: text });
  line.dataset.kind = kind;
  place.append(line);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(() => line.remove(), SHOWN_MS);
}
