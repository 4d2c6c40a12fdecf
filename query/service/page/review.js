// The review form of a pair: three labels, a note, and their keys. Saved by the service at once.

import { el, say } from "./dom.js";
import { send } from "./api.js";

const WORDS = [["copy", "1", "Copy"], ["similar", "2", "Similar"], ["unrelated", "3", "Unrelated"]];
const ONWARD = "synthtrace.onward";

/** The form of a pair. path, params: where its review is kept; given: the review it has, null for none; named: the pair, for who
 *  hears it; next: goes to the next pair, null where there is none; saved: called with each label. {element, keys} */
export function reviewForm({ path, params, given, named, next, saved = () => {} }) {
  let review = given?.review ?? null;
  let kept = given?.note ?? "";
  const buttons = WORDS.map(([word, key, label]) => el("button", { type: "button", class: `review-label ${word}`, "data-review": word, "aria-keyshortcuts": key, on: { click: () => give(word) } },
    el("kbd", {}, key), el("span", {}, label)));
  const note = el("textarea", { id: "note", rows: 1, maxlength: 2000, placeholder: "reason", on: { blur: () => noted(), keydown: written } });
  note.value = kept;
  const onward = el("input", { type: "checkbox", checked: localStorage.getItem(ONWARD) !== "off", on: { change: () => localStorage.setItem(ONWARD, onward.checked ? "on" : "off") } });
  const said = el("p", { class: "small soft", id: "review-said", role: "status" });
  show();

  function show() {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.review === review));
    said.textContent = review ? `Saved: ${review}${kept ? ", with a note" : ""}. Press 0 to delete it.` : "Not reviewed yet.";
  }

  async function give(word) {
    if (!await keep(word, note.value)) return;
    say(`${word}: ${named}`);
    if (onward.checked && next) next();
  }

  async function keep(word, words) {
    try {
      await send("PUT", path, { review: word, note: words }, { params });
    } catch (error) {
      said.textContent = `Not saved: ${error.message}`;
      say(`Not saved: ${error.message}`);
      return false;
    }
    [review, kept] = [word, words];
    show();
    saved(review);
    return true;
  }

  async function takeBack() {
    if (!review) return;
    try {
      await send("DELETE", path, undefined, { params });
    } catch (error) {
      said.textContent = `Not deleted: ${error.message}`;
      return;
    }
    review = null;
    show();
    saved(null);
    say("Review deleted.");
  }

  async function noted() {
    if (note.value === kept) return;
    if (!review) said.textContent = "The note will be saved with the review.";
    else if (await keep(review, note.value)) say("Note saved.");
  }

  function written(event) {
    if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) {
      event.stopPropagation();
      note.blur();
    }
  }

  const element = el("section", { class: "sheet review", "aria-label": "Review" },
    el("h2", {}, "What do you see?"),
    el("div", { class: "review-labels", role: "group", "aria-label": "Review" }, buttons),
    el("div", { class: "noted" }, el("label", { for: "note", class: "small soft" }, "Note ", el("kbd", {}, "n")), note),
    el("label", { class: "check small" }, onward, "Go to the next pair after a review"), said);
  return { element, keys: { 1: () => give("copy"), 2: () => give("similar"), 3: () => give("unrelated"), 0: takeBack, n: () => note.focus() } };
}
