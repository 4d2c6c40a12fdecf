// The help dialog: keyboard shortcuts, and how to read the results.

import { el } from "./dom.js";
import * as keys from "./keys.js";

const KEYS = [
  ["1", "copy: the generated image reproduces this real image"],
  ["2", "similar: similar, but not clearly a copy"],
  ["3", "unrelated"],
  ["0", "delete the review"],
  ["n", "write a note"],
  ["j  k", "next, previous pair in the list"],
  ["s  o  d", "side by side, overlay, difference"],
  ["m", "show or hide inlier lines"],
  ["b", "overlay: switch between the two images"],
  ["+  −  z", "zoom in, zoom out, reset; drag to move"],
  ["Esc", "back to the list"],
  ["Ctrl Enter", "run the SQL query"],
];

/** Opens the dialog. */
export function show() {
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "help-title", on: { close: () => dialog.remove() } },
    el("h1", { id: "help-title" }, "Keyboard shortcuts"),
    el("dl", { class: "keys" }, KEYS.map(([key, does]) =>
      el("div", {}, el("dt", {}, key.split("  ").map((one) => el("kbd", {}, one))), el("dd", {}, does)))),
    el("label", { class: "check" },
      el("input", { type: "checkbox", checked: keys.on(), on: { change: (event) => keys.turn(event.target.checked) } }), "Enable single-key shortcuts"),
    el("h2", {}, "How to read the results"),
    el("p", {}, "A small distance is evidence that an image was used; a large distance is no evidence that it was not. Always look at the images: "
      + "two views that agree on a pair, and a copy that you can see, count more than a single number."),
    el("form", { method: "dialog" }, el("button", { class: "primary" }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
