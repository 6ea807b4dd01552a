// One colour per phase, from colours that people with any colour vision tell apart (Okabe and Ito,
// 2008). The model's order decides; a label of no known model takes its place by a hash. A label
// stands beside every colour.

const COLOURS = ["#7f8ea3", "#3584d4", "#e69f00", "#00a077", "#cc79a7", "#56b4e9", "#d9600a", "#b9a600", "#8c6bb1", "#5aa9a3"];
const known = new Map();

export function learn(models) {
  known.clear();
  for (const model of models) {
    model.phases.forEach((label, index) => {
      if (!known.has(label)) known.set(label, COLOURS[index % COLOURS.length]);
    });
  }
}

export function colourOf(label) {
  if (!known.has(label)) known.set(label, COLOURS[hash(label) % COLOURS.length]);
  return known.get(label);
}

// FNV-1a, 32 bits.
function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

// The colours of the theme, read once per change of theme.
let cache = null;
export function ink() {
  if (cache === null) {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    cache = {
      dark: document.documentElement.dataset.theme === "dark",
      surface: of("--surface"), ink: of("--ink"), muted: of("--muted"), line: of("--line"), sunken: of("--sunken"),
      action: of("--action"), bad: of("--bad-dot"), hatch: of("--hatch"), accent: of("--accent"), budget: of("--budget"),
    };
  }
  return cache;
}
export const forgetInk = () => { cache = null; };
