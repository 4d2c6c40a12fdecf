// The help dialog: keyboard shortcuts, and how to read the results.

import { el } from "./dom.js";
import * as keys from "./keys.js";

const KEYS = [
  ["1", "copy: one of the images reproduces the other", true],
  ["2", "similar: similar, but not clearly a copy", true],
  ["3", "unrelated", true],
  ["0", "delete the review", true],
  ["n", "write a note", true],
  ["j  k", "next, previous pair in the list", true],
  ["s  o  d", "side by side, overlay, difference"],
  ["m", "show or hide inlier lines"],
  ["b", "overlay: switch between the two images"],
  ["+  −  z", "zoom in, zoom out, reset; drag to move", true],
  ["Esc", "back to the list"],
  ["Ctrl Enter", "run the SQL query"],
];

/** Opens the dialog; blinded: with what a reader can use there. */
export function show(blinded) {
  const used = blinded ? KEYS.filter(([, , everywhere]) => everywhere) : KEYS;
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "help-title", on: { close: () => dialog.remove() } },
    el("h1", { id: "help-title" }, "Keyboard shortcuts"),
    el("dl", { class: "keys" }, used.map(([key, does]) =>
      el("div", {}, el("dt", {}, key.split("  ").map((one) => el("kbd", {}, one))), el("dd", {}, does)))),
    el("label", { class: "check" },
      el("input", { type: "checkbox", checked: keys.on(), on: { change: (event) => keys.turn(event.target.checked) } }), "Enable single-key shortcuts"),
    !blinded && el("h2", {}, "How to read the results"),
    !blinded && el("p", {}, "A small distance is evidence that an image was used; a large distance is no evidence that it was not. Always look at the images: "
      + "two views that agree on a pair, and a copy that you can see, count more than a single number."),
    el("form", { method: "dialog" }, el("button", { class: "primary" }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
