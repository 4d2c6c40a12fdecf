// The form that asks for the service's token. The token goes to the service once; what comes back opens the service for this tab.

import { el } from "./dom.js";
import { enter } from "./api.js";

let waiting = null;

/** Resolves when the service has accepted a token; several who ask share one form. */
export function ask() {
  waiting ??= new Promise((resolve) => show(resolve)).finally(() => { waiting = null; });
  return waiting;
}

function show(resolve) {
  const input = el("input", { type: "password", id: "token", autocomplete: "current-password", required: true, "aria-describedby": "token-said" });
  const said = el("p", { id: "token-said", class: "form-said", role: "alert" });
  const form = el("form", { class: "token", on: { submit: attempt } },
    el("h1", { id: "token-title" }, "This service needs an access token"),
    el("p", {}, "The person who started the service knows it: it is in the file given by --token-file, or in SYNTHTRACE_SERVE_TOKEN."),
    el("label", { for: "token" }, "Token"), input,
    el("button", { type: "submit", class: "primary" }, "Continue"), said);
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "token-title", on: { cancel: (event) => event.preventDefault() } }, form);
  document.body.append(dialog);
  dialog.showModal();
  input.focus();

  async function attempt(event) {
    event.preventDefault();
    try {
      await enter(input.value);
    } catch (error) {
      said.textContent = error.status === 401 ? "Wrong token." : error.message;
      input.select();
      return;
    }
    dialog.close();
    dialog.remove();
    resolve();
  }
}
