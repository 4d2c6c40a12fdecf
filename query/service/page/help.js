// What the keys do, and what the figures are not.

import { el } from "./dom.js";
import * as keys from "./keys.js";

const KEYS = [
  ["1", "copy: the generated image shows this real one"],
  ["2", "similar: alike, but not clearly the same"],
  ["3", "unrelated"],
  ["0", "take the review back"],
  ["n", "write a note"],
  ["j  k", "next, previous pair of the list"],
  ["s  o  d", "side by side, overlay, difference"],
  ["m", "lines between matching places"],
  ["b", "in the overlay: from one picture to the other"],
  ["+  −  z", "nearer, farther, whole picture; drag to move"],
  ["Esc", "back to the list"],
  ["Ctrl Enter", "run the SQL"],
];

/** Opens the dialog. */
export function show() {
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "help-title", on: { close: () => dialog.remove() } },
    el("h1", { id: "help-title" }, "Keys"),
    el("dl", { class: "keys" }, KEYS.map(([key, does]) =>
      el("div", {}, el("dt", {}, key.split("  ").map((one) => el("kbd", {}, one))), el("dd", {}, does)))),
    el("label", { class: "check" },
      el("input", { type: "checkbox", checked: keys.on(), on: { change: (event) => keys.turn(event.target.checked) } }), "Single keys are on"),
    el("h2", {}, "How to read this"),
    el("p", {}, "A small distance supports that an image was used; a large one does not clear it. “No evidence found” is no clearance. Look at the pictures: "
      + "two views that agree on a pair, and a picture in which you see it, are worth more than any one number."),
    el("form", { method: "dialog" }, el("button", { class: "primary" }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
