// Who the page is: a cookie that no script can read, made from a token.

import { call, Problem } from "./api.js";

const AGAIN_MS = 1000;
export const session = { scopes: [] };
export const mayWrite = () => session.scopes.some((scope) => scope === "streams:write" || scope === "admin");

// Returns once the gateway lets us in.
export async function signIn() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token");
  if (token !== null) {
    url.searchParams.delete("token");
    history.replaceState(null, "", url); // before anything else: it must not be copied or kept
    try {
      return adopt(await call("POST", "/v1/session", { token }));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return ask(error.message);
    }
  }
  for (;;) {
    try {
      return adopt(await call("GET", "/v1/session"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) return ask("");
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS)); // it is being started again
    }
  }
}

const adopt = (found) => { session.scopes = found.scopes; };

export function ask(why) {
  const dialog = document.getElementById("token-dialog");
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  const tell = (text) => { problem.textContent = text; problem.hidden = !text; };
  tell(why);
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault(); // there is nothing behind it
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        adopt(await call("POST", "/v1/session", { token: form.elements.token.value.trim() }));
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        tell(error.message);
        return;
      }
      form.reset();
      dialog.close();
      resolve();
    };
  });
}
