// Light, dark, or as the system says; kept in the browser.

import { el } from "./dom.js";

const NEXT = { system: "light", light: "dark", dark: "system" };
const KEY = "synthtrace.theme";

/** Puts the theme that was chosen last in force. */
export function restore() {
  apply(localStorage.getItem(KEY) ?? "system");
}

/** A button that goes through the themes; changed is called after each change. */
export function button(changed) {
  const shown = el("button", { type: "button", class: "plain", id: "theme", on: { click: next } });
  const label = () => {
    const theme = localStorage.getItem(KEY) ?? "system";
    shown.textContent = { system: "Auto", light: "Light", dark: "Dark" }[theme];
    shown.setAttribute("aria-label", `Colours: ${theme === "system" ? "as the system" : theme}. Change`);
  };
  function next() {
    const theme = NEXT[localStorage.getItem(KEY) ?? "system"];
    localStorage.setItem(KEY, theme);
    apply(theme);
    label();
    changed();
  }
  label();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  return shown;
}

/** The colour that a custom property has now, as canvas takes it. */
export function colour(name) {
  const probe = el("span", { hidden: true });
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function apply(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
