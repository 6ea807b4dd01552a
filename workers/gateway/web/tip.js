// The one tooltip. Whoever shows it owns it until another does.

const tip = document.getElementById("tip");
let owner = null;
let shown = "";

export function showTip(by, x, y, lines) {
  owner = by;
  const text = lines.join("\n");
  if (text !== shown) {
    shown = text;
    tip.replaceChildren(...lines.map((line, index) => Object.assign(document.createElement(index ? "span" : "b"), { textContent: line })));
  }
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(x - width / 2, 8), innerWidth - width - 8);
  const above = y - height - 8;
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(above > 60 ? above : y + 96)}px)`;
}

export function hideTip(by) {
  if (owner !== by) return;
  owner = null;
  tip.hidden = true;
}
