// Light or dark: as the system says, until somebody chooses.

import { forgetInk } from "./palette.js";

const system = matchMedia("(prefers-color-scheme: dark)");

export function theme() {
  const button = document.getElementById("theme");
  const show = () => {
    const name = localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = name;
    button.setAttribute("aria-label", name === "dark" ? "Light theme" : "Dark theme");
    forgetInk();
    dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}
