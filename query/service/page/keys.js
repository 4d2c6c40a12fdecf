// Single keys. They rest while somebody writes, and can be switched off for good.

const KEY = "synthtrace.keys";
const TYPING = "input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]";
let bound = {};

/** Binds keys for the view that is shown: {key: listener}. */
export function bind(listeners) {
  bound = { ...bound, ...listeners };
}

/** Forgets what the last view bound. */
export function clear() {
  bound = {};
}

/** Whether single keys do anything. */
export function on() {
  return localStorage.getItem(KEY) !== "off";
}

/** Switches them on or off. */
export function turn(state) {
  localStorage.setItem(KEY, state ? "on" : "off");
}

/** The listener of the document. */
export function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !on()) return;
  if (event.target.closest?.(TYPING) || document.querySelector("dialog[open]")) return;
  const listener = bound[event.key];
  if (!listener) return;
  event.preventDefault();
  listener(event);
}
