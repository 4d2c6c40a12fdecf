// Thumbnails, tags, and a pair in small: what several views show.

import { el } from "./dom.js";
import { MATCHED, distance, figure } from "./format.js";
import { link } from "./state.js";
import { lazy } from "./pictures.js";

/** A thumbnail that is loaded when it comes near to the window. */
export function thumbnail(run, id, size = 64) {
  return lazy({ class: "thumb", width: size, height: size, alt: "", decoding: "async" }, `/v1/images/${id}/thumbnail`, { run, size: size > 96 ? 256 : 96 });
}

/** What is known, said or decided, in a frame of its colour. */
export function tag(word) {
  return word ? el("span", { class: `tag ${word.replaceAll(" ", "-")}` }, word) : el("span", { class: "soft" }, "–");
}

/** The hash of the pair of an image and its nearest by a view; null where it has none. list: parameters of the list it stands in. */
export function pairLink(image, view, list) {
  const other = image.nearest[view];
  if (!other) return null;
  const [real, generated] = image.role === "generated" ? [other.id, image.id] : [image.id, other.id];
  return link("pair", [real, generated], { ...list, view });
}

/** A pair as two thumbnails with its distance, or with the match value where pairs are ranked by that: so many times what is usual. */
export function pair(image, { run, view, at }) {
  const other = image.nearest[view];
  const words = view === MATCHED && image.match !== null ? `${figure(image.match)} × usual` : distance(view, other.distance);
  return el("a", { class: "card", href: pairLink(image, view, { run, at }), title: image.name, "aria-label": `${image.name}, ${words}` },
    el("span", { class: "card-pictures" }, thumbnail(run, image.id, 72), thumbnail(run, other.id, 72)),
    el("span", { class: "card-figures" }, el("b", {}, words), image.review && tag(image.review)));
}

/** A prominent link to the first pair of a list. */
export function firstPair(image, { run, view }, words) {
  return el("a", { class: "primary", href: pairLink(image, view, { run, at: 0 }) }, words);
}
