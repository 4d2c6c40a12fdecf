// Blinded reading: two pictures, three labels. The service sends nothing else, not even which picture is the real one.

import { el, empty, fill, say } from "./dom.js";
import { get, readAs, readerCode, send } from "./api.js";
import { of, whole } from "./format.js";
import { go, link } from "./state.js";
import { glasses } from "./lens.js";
import { ahead } from "./pictures.js";
import { reviewForm } from "./review.js";
import * as keys from "./keys.js";

const SIDES = ["a", "b"];

export async function show(context) {
  const { root, params, signal, redraw } = context;
  const { reader: only } = await get("/v1/mode", {}, signal);
  if (!only && !readerCode()) {
    fill(root, entry(redraw));
    return;
  }
  let found;
  try {
    found = await get("/v1/blinded/pairs", {}, signal);
  } catch (error) {
    if (error.status !== 403) throw error;
    fill(root, entry(redraw)); // the code of another service, or of labels that are gone
    return;
  }
  if (!found.total) {
    fill(root, el("h1", {}, "Blinded reading"), empty("There are no pairs to read", el("p", {}, "In this run no real image has a neighbour that shows something.")));
    return;
  }
  const first = Math.max(0, found.labels.indexOf(null));
  const place = Math.min(found.total - 1, Math.max(0, params.has("n") ? Number(params.get("n")) - 1 || 0 : first));
  const { review: given } = await get(`/v1/blinded/pairs/${place}`, {}, signal);
  draw(context, { ...found, only, place, given });
}

function draw(context, { reader, total, labels, only, place, given }) {
  const { root, redraw } = context;
  const area = el("div", { class: "stage-area" });
  const lens = glasses(area, () => {});
  const picture = (side, at = place) => `/v1/blinded/pairs/${at}/${side}`;
  const to = (at) => link("reading", [], { n: at + 1 });
  const step = (by, words) => () => (place + by >= 0 && place + by < total ? go(to(place + by)) : say(words));
  const [next, previous] = [step(1, "This is the last pair."), step(-1, "This is the first pair.")];
  const open = labels.findIndex((label, at) => label === null && at !== place);
  const counted = el("p", { id: "labelled", class: "soft" });
  const count = (label) => {
    labels[place] = label;
    fill(counted, `${reader}: ${of(labels.filter(Boolean).length, total)} pairs labelled`);
  };
  const form = reviewForm({ path: `/v1/blinded/pairs/${place}`, params: {}, given, named: `pair ${place + 1}`, next: place + 1 < total ? next : null, saved: count });
  count(given?.review ?? null);
  fill(area, el("div", { class: "side" }, SIDES.map((side) => lens.pane(side, lens.image(picture(side), `Picture ${side.toUpperCase()}`), el("b", {}, side.toUpperCase())))));
  fill(root,
    el("div", { class: "pair-head" },
      el("h1", { tabindex: -1, "data-focus": true }, `Pair ${whole(place + 1)} of ${whole(total)}`), counted,
      el("div", { class: "row turn" },
        open >= 0 && el("a", { href: to(open), id: "go-on" }, "To the next without a label"),
        el("button", { type: "button", id: "previous", disabled: place === 0, "aria-keyshortcuts": "k", on: { click: previous } }, "Previous ", el("kbd", {}, "k")),
        el("button", { type: "button", id: "next", disabled: place + 1 === total, "aria-keyshortcuts": "j", on: { click: next } }, "Next ", el("kbd", {}, "j")))),
    el("div", { class: "pair-body" },
      el("section", { class: "stage", "aria-label": "Pictures" }, el("div", { class: "row stage-bar" }, lens.controls), area),
      el("aside", { class: "pair-right", "aria-label": "Review" }, form.element, about(only, redraw))));
  keys.bind({ ...lens.keys, ...form.keys, j: next, k: previous });
  context.shown = () => {
    lens.place();
    if (place + 1 < total) SIDES.forEach((side) => ahead(picture(side, place + 1), {}));
  };
}

function about(only, redraw) {
  return el("section", { class: "sheet", "aria-label": "About this reading" },
    el("p", {}, "One of the two images is real, the other generated; which one is drawn anew for each pair. Labels, scores, names and what others say are hidden until the reading is over."),
    !only && el("p", { class: "small" }, "Your code: ", el("code", { id: "code" }, readerCode()), ". With your name it opens your labels in another browser."),
    !only && el("button", { type: "button", id: "leave", on: { click: () => { readAs(null); redraw(); } } }, "Another reader"));
}

/** The form that asks who reads. */
function entry(redraw) {
  const name = el("input", { id: "reader", required: true, maxlength: 60, autocomplete: "off", "aria-describedby": "reader-said" });
  const code = el("input", { id: "reader-code", maxlength: 100, autocomplete: "off" });
  const said = el("p", { id: "reader-said", class: "form-said", role: "alert" });

  async function begin(event) {
    event.preventDefault();
    readAs(null);
    try {
      const begun = await send("POST", "/v1/blinded/readers", { reader: name.value, code: code.value });
      readAs(begun.code);
    } catch (error) {
      said.textContent = error.message;
      name.focus();
      return;
    }
    redraw();
  }

  return el("form", { class: "sheet token entry", on: { submit: begin } },
    el("h1", { tabindex: -1 }, "Blinded reading"),
    el("p", {}, "You see pairs of images, one of them real and one generated, and say of each pair whether one is a copy of the other. No other reader sees your labels, and you see nobody else's, before the reading is over."),
    el("label", { for: "reader" }, "Your name"), name,
    el("label", { for: "reader-code" }, "Your code, if you have begun before"), code,
    el("button", { type: "submit", class: "primary" }, "Begin"), said);
}
