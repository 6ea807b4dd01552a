// <latency-spark>: latencies of the newest events, with the budget as a dashed line.

import { ink } from "./palette.js";

class LatencySpark extends HTMLElement {
  #canvas = document.createElement("canvas");
  #drawn = "";

  connectedCallback() {
    this.setAttribute("role", "img");
    this.append(this.#canvas);
  }

  show(values, budget, text) {
    const key = `${values.length} ${values.at(-1)} ${values[0]} ${budget} ${document.documentElement.dataset.theme}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.setAttribute("aria-label", text);
    this.title = text;
    const ratio = devicePixelRatio;
    const [width, height] = [84, 22];
    this.#canvas.width = width * ratio;
    this.#canvas.height = height * ratio;
    const context = this.#canvas.getContext("2d");
    context.scale(ratio, ratio);
    const colours = ink();
    const top = Math.max(budget * 1.15, ...values);
    const y = (value) => height - 2 - (value / top) * (height - 4);
    context.strokeStyle = colours.budget;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(0, y(budget));
    context.lineTo(width, y(budget));
    context.stroke();
    context.setLineDash([]);
    if (values.length < 2) return;
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.4;
    context.lineJoin = "round";
    context.beginPath();
    values.forEach((value, index) => context.lineTo((index / (values.length - 1)) * (width - 2) + 1, y(value)));
    context.stroke();
  }
}

customElements.define("latency-spark", LatencySpark);
