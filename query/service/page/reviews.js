// All reviews, and the progress of reviewing.

import { el, empty, failure, fill, select } from "./dom.js";
import { bytes, get } from "./api.js";
import { save } from "./csv.js";
import { MATCHED, many, moment, of, whole } from "./format.js";
import { changed, go, link } from "./state.js";
import { about, rankings, viewOf } from "./run.js";
import * as card from "./card.js";
import * as lists from "./list.js";

const WORST = [10, 20, 50, 100, 200];

export async function show(context) {
  const { root, run, params, signal } = context;
  const info = await about(run);
  const view = viewOf(rankings(info), params.get("view"));
  const n = Number(params.get("n")) || 50;
  const [{ reviews }, readers, worst] = await Promise.all([
    get("/v1/reviews", { run }, signal),
    get("/v1/readers", { run }, signal),
    lists.fresh(lists.asked(new URLSearchParams(), view), { run, view, limit: n, signal }),
  ]);
  const trouble = el("div");

  async function exported() {
    try {
      save("reviews.csv", await bytes("/v1/reviews.csv"));
      fill(trouble);
    } catch (error) {
      fill(trouble, failure(error));
    }
  }

  lists.forget();
  fill(root,
    el("div", { class: "head" }, el("h1", {}, "Reviews"), el("p", { class: "soft", id: "review-count" }, summary(reviews)),
      reviews.length + readers.pairs.length > 0 && el("button", { type: "button", class: "primary", id: "export", on: { click: exported } }, "Save as CSV"), trouble),
    progress(worst, { run, view, n, info }),
    blinded(readers, run),
    reviews.length ? table(reviews, run) : empty("No reviews yet", el("p", {}, "Open a pair and press 1 for copy, 2 for similar, 3 for unrelated. Reviews are kept beside the database, also for the next audit of the same images.")));
}

function summary(reviews) {
  const counts = ["copy", "similar", "unrelated"].map((word) => `${whole(reviews.filter((one) => one.review === word).length)} ${word}`);
  return `${many(reviews.length, "pair")}: ${counts.join(", ")}`;
}

function progress(worst, { run, view, n, info }) {
  const looked = worst.images.filter((image) => image.review).length;
  const total = worst.images.length;
  const open = worst.images.findIndex((image) => !image.review && image.nearest[view]);
  return el("section", { class: "sheet progress", "aria-label": "Progress" },
    el("div", { class: "row" },
      select(view === MATCHED ? "Best matches" : "Nearest pairs", WORST.map((count) => [String(count), whole(count)]), String(n), (count) => go(changed({ n: count }))),
      select("in view", rankings(info).map((one) => [one, one]), view, (chosen) => go(changed({ view: chosen }))),
      el("div", { class: "progress-bar" },
        el("label", { for: "looked" }, `${of(looked, total)} real images have a review of their nearest pair`),
        el("progress", { id: "looked", max: total || 1, value: looked })),
      open >= 0 && el("a", { class: "primary", id: "go-on", href: card.pairLink(worst.images[open], view, { run, at: open }) }, "Next without a review")));
}

/** What blinded readers said, and how far they agree. */
function blinded({ readers, words, pairs }, run) {
  if (!readers.length) {
    return el("p", { class: "soft small" }, "On this page labels and scores stand beside the pictures. To have people label pairs without them, start synthtrace serve with --blinded.");
  }
  const names = readers.map(({ reader }) => reader);
  return el("section", { class: "sheet readers", "aria-label": "Blinded readers" },
    el("h2", {}, "Blinded readers"),
    el("p", {}, readers.map(({ reader, labels }) => `${reader}: ${Object.entries(labels).map(([label, count]) => `${whole(count)} ${label}`).join(", ")}`).join("; "), "."),
    words.map((line) => el("p", {}, line)),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Labels of blinded readers" }, el("table", { class: "review-table" },
      el("thead", {}, el("tr", {}, ["Real image", "Generated image", ...names].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, pairs.map((one) => el("tr", {},
        el("th", { scope: "row" }, named(one.real, one.real_id, run, one)), el("td", {}, named(one.generated, one.generated_id, run)),
        names.map((name) => el("td", {}, card.tag(one.labels[name])))))))));
}

function table(reviews, run) {
  return el("div", { class: "sheet scroll", tabindex: 0, role: "region", "aria-label": "Reviews" }, el("table", { class: "review-table" },
    el("thead", {}, el("tr", {}, ["Real image", "Generated image", "Review", "Note", "Time"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, [...reviews].reverse().map((one) => el("tr", {},
      el("th", { scope: "row" }, named(one.real, one.real_id, run, one)), el("td", {}, named(one.generated, one.generated_id, run)),
      el("td", {}, card.tag(one.review)), el("td", { class: "name" }, one.note), el("td", { class: "soft" }, moment(one.time)))))));
}

function named(name, id, run, { real_id: real, generated_id: generated } = {}) {
  if (id === null) return el("span", { class: "name" }, name, el("span", { class: "soft small" }, " not in this run"));
  const both = real !== undefined && real !== null && generated !== null;
  return el("div", { class: "named" }, card.thumbnail(run, id, 40), both ? el("a", { class: "name", href: link("pair", [real, generated], { run }) }, name) : el("span", { class: "name" }, name));
}
