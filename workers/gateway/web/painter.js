// Draws a ribbon's scene on its canvas.

import { clock, words } from "./format.js";
import { colourOf, ink } from "./palette.js";

const TICKS = 9;
const PHASE = 26;
const LANE = 15;
const AXIS = 19;
const STRIP = 5;
const STEPS = [5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000];
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

export const GEOMETRY = {
  gutter: (width) => (width < 380 ? 72 : 96),
  height: (lanes) => TICKS + PHASE + 7 + lanes.length * LANE + AXIS,
  laneAt(y, lanes) {
    if (y < TICKS) return "anomalies";
    if (y < TICKS + PHASE) return "phases";
    if (y < TICKS + PHASE + 7) return "gaps";
    return lanes[Math.floor((y - TICKS - PHASE - 7) / LANE)] ?? "phases";
  },
};

export function paint(canvas, scene, { width, ratio, pointer, chosen }) {
  const height = GEOMETRY.height(scene.lanes);
  const wide = Math.round(width * ratio);
  const high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  const gutter = GEOMETRY.gutter(width);
  const scale = (width - gutter) / (scene.to - scene.from);
  const place = {
    context, scene, width, height, gutter, chosen, colours: ink(), bottom: height - AXIS,
    x: (at) => gutter + (Math.max(at, scene.from) - scene.from) * scale,
  };
  names(place);
  context.save();
  context.beginPath();
  context.rect(gutter, 0, width - gutter, height);
  context.clip();
  axis(place);
  for (const band of scene.phases) phase(place, band);
  for (const band of scene.actions) action(place, band);
  for (const band of scene.gaps) hatch(place, band.start, band.end, "", isSlight(band) ? STRIP : place.bottom - TICKS - 2);
  for (const band of scene.statuses) hatch(place, band.start, band.end, words(band.state), place.bottom - TICKS - 2);
  for (const band of scene.anomalies) anomaly(place, band);
  if (pointer && pointer[0] > gutter) {
    context.fillStyle = place.colours.muted;
    context.fillRect(pointer[0], 0, 1, place.bottom);
  }
  context.restore();
}

function names({ context, scene, colours, gutter }) {
  context.fillStyle = colours.muted;
  const write = (text, y) => context.fillText(short(context, text, gutter - 12), 4, y);
  write("phase", TICKS + PHASE / 2);
  scene.lanes.forEach((label, row) => write(words(label), laneTop(row) + 5));
}

const laneTop = (row) => TICKS + PHASE + 9 + row * LANE;

function axis({ context, scene, colours, width, gutter, bottom, x }) {
  const step = STEPS.find((wanted) => ((width - gutter) * wanted) / (scene.to - scene.from) >= 78) ?? STEPS.at(-1);
  context.fillStyle = colours.sunken;
  context.fillRect(gutter, TICKS, width - gutter, PHASE);
  scene.lanes.forEach((_, row) => context.fillRect(gutter, laneTop(row) + 4.5, width - gutter, 1));
  context.textAlign = "center";
  for (let at = Math.ceil(scene.from / step) * step; at <= scene.to; at += step) {
    context.fillStyle = colours.line;
    context.fillRect(Math.round(x(at)), TICKS, 1, bottom - TICKS + 3);
    const half = context.measureText(clock(at)).width / 2;
    if (x(at) - half < gutter || x(at) + half > width) continue;
    context.fillStyle = colours.muted;
    context.fillText(clock(at), x(at), bottom + 11);
  }
  context.textAlign = "left";
}

function phase(place, band) {
  const { context, scene, colours, chosen, x } = place;
  const left = x(band.start);
  const right = x(band.end ?? scene.to);
  if (right - (place.filled ?? 0) < 0.7) return; // less than can be seen
  place.filled = right;
  const wide = Math.max(right - left - 1, 1);
  const provisional = band.status === "provisional";
  const alpha = 0.22 + 0.78 * (band.confidence ?? 0.4) ** 2;
  const colour = colourOf(band.label);
  context.globalAlpha = provisional ? alpha * 0.55 : alpha;
  context.fillStyle = colour;
  box(context, left, TICKS, wide, PHASE, 4);
  context.fill();
  context.globalAlpha = 1;
  if (provisional) {
    context.strokeStyle = colour;
    context.setLineDash([3, 2]);
    box(context, left + 0.5, TICKS + 0.5, Math.max(wide - 1, 1), PHASE - 1, 4);
    context.stroke();
    context.setLineDash([]);
  }
  const text = wide < 20 ? "" : words(band.label);
  const fits = short(context, text, wide - 10);
  if (text && fits.length >= Math.min(text.length, 6)) {
    context.fillStyle = legible(colour, provisional ? alpha * 0.55 : alpha, colours.surface);
    context.fillText(fits, left + 5, TICKS + PHASE / 2 + 0.5);
  }
  if (chosen?.lane === "phases" && chosen.start === band.start) outline(context, colours, left, TICKS, wide, PHASE);
}

function action({ context, scene, colours, chosen, x }, band) {
  const row = scene.lanes.indexOf(band.label);
  if (row < 0) return;
  const left = x(band.start);
  const wide = Math.max(x(band.end ?? scene.to) - left, 2);
  context.globalAlpha = 0.25 + 0.75 * (band.confidence ?? 0.5);
  context.fillStyle = colours.action;
  box(context, left, laneTop(row), wide, 10, 3);
  context.fill();
  context.globalAlpha = 1;
  if (chosen?.lane === band.label && chosen.start === band.start) outline(context, colours, left, laneTop(row), wide, 10);
}

// A few dropped frames change nothing: they are marked, and cover nothing.
export const isSlight = ({ reason, start, end }) => reason === "dropped" && end - start < 1000;

function hatch({ context, scene, colours, x }, start, end, text, high) {
  const left = x(start);
  const wide = Math.max(x(end ?? scene.to) - left, 2);
  if (high === STRIP && wide < 4) {
    context.fillStyle = colours.muted;
    context.fillRect(left, TICKS + PHASE, wide, STRIP);
    return;
  }
  const top = high === STRIP ? TICKS + PHASE : TICKS;
  context.save();
  context.beginPath();
  context.rect(left, top, wide, high);
  context.clip();
  context.globalAlpha = 0.72;
  context.fillStyle = colours.surface;
  context.fillRect(left, top, wide, high);
  context.globalAlpha = 1;
  context.strokeStyle = high === STRIP ? colours.muted : colours.hatch;
  context.lineWidth = 1.5;
  context.beginPath();
  // The lines lie on one grid in time, so that they scroll with the picture.
  const step = high === STRIP ? 3 : 6;
  const first = left - (((start / (scene.to - scene.from)) * 360) % step) - high - step;
  for (let at = first; at < left + wide; at += step) {
    context.moveTo(at, top + high);
    context.lineTo(at + high, top);
  }
  context.stroke();
  context.lineWidth = 1;
  const room = context.measureText(text).width;
  if (text && wide > room + 16) {
    context.fillStyle = colours.surface;
    box(context, left + 5, TICKS + 5, room + 8, 16, 4);
    context.fill();
    context.fillStyle = colours.muted;
    context.fillText(text, left + 9, TICKS + PHASE / 2);
  }
  context.restore();
}

function anomaly({ context, scene, colours, bottom, chosen, x }, band) {
  const left = x(band.start);
  const wide = Math.max(x(band.end ?? scene.to) - left, 2);
  context.fillStyle = colours.bad;
  context.globalAlpha = 0.13;
  context.fillRect(left, TICKS, wide, bottom - TICKS - 2);
  context.globalAlpha = 1;
  context.fillRect(left, TICKS - 2, wide, 2);
  context.beginPath();
  context.moveTo(left - 4, TICKS - 2);
  context.lineTo(left + 4, TICKS - 2);
  context.lineTo(left, TICKS - 9);
  context.fill();
  if (chosen?.lane === "anomalies" && chosen.start === band.start) outline(context, colours, left, 1, wide, TICKS);
}

function outline(context, colours, left, top, wide, high) {
  context.strokeStyle = colours.ink;
  context.lineWidth = 2;
  box(context, left, top, Math.max(wide, 4), high, 4);
  context.stroke();
  context.lineWidth = 1;
}

function box(context, left, top, wide, high, radius) {
  context.beginPath();
  if (wide < 4) {
    context.rect(left, top, wide, high);
    return;
  }
  context.roundRect(left, top, wide, high, Math.min(radius, wide / 2));
}

const widths = new Map();
function widthOf(context, text) {
  if (!widths.has(text)) {
    if (widths.size > 2000) widths.clear();
    widths.set(text, context.measureText(text).width);
  }
  return widths.get(text);
}

// As much of a text as has room.
function short(context, text, room) {
  if (room <= 0) return "";
  if (widthOf(context, text) <= room) return text;
  for (let length = text.length - 1; length > 1; length -= 1) {
    const cut = `${text.slice(0, length)}…`;
    if (widthOf(context, cut) <= room) return cut;
  }
  return "";
}

// Black or white, whichever is easier to read on the colour laid over the surface.
function legible(colour, alpha, surface) {
  const mixed = [1, 3, 5].map((at) => {
    const [over, under] = [colour, surface].map((hex) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);
    return over * alpha + under * (1 - alpha);
  });
  const [red, green, blue] = mixed.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#11151b" : "#ffffff";
}
