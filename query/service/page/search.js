// An image that somebody brings: the nearest of the collection by every view.

import { el, failure, fill, loading } from "./dom.js";
import { get, send } from "./api.js";
import { NOT_CALIBRATED, distance, figure, inOrder, many, whole } from "./format.js";
import { distances } from "./run.js";
import * as card from "./card.js";

const K = 6;

export async function show(context) {
  const { root, run, signal } = context;
  const { collections } = await get("/v1/collections", {}, signal);
  const same = run !== null && collections.some((one) => one.run === run);
  const marks = same ? await references(collections, run) : {};
  const results = el("div", { class: "results", "aria-live": "polite" });
  const match = el("input", { type: "checkbox", id: "match" });
  const input = el("input", { type: "file", id: "file", on: { change: () => input.files.length && look(input.files[0]) } });
  const zone = el("div", { class: "drop sheet", on: { dragover: over, dragleave: () => zone.classList.remove("over"), drop: dropped } },
    el("label", { for: "file", class: "drop-words" }, el("b", {}, "Drop an image here, or choose one"), el("span", { class: "soft" }, "PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM, NIfTI; only the first frame is searched")),
    input,
    el("label", { class: "check" }, match, "Match the nearest images geometrically (slower)"));
  let latest = 0;
  let shown = null; // the object URL of the picture that was brought

  function over(event) {
    event.preventDefault();
    zone.classList.add("over");
  }

  function dropped(event) {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
  }

  async function look(file) {
    const mine = ++latest;
    fill(results, loading(`Searching for ${file.name}`));
    try {
      const found = await send("POST", "/v1/search", file, { params: { k: K, match: match.checked }, signal });
      if (mine === latest) fill(results, ...report(file, found));
    } catch (error) {
      if (mine === latest && error.name !== "AbortError") fill(results, failure(error));
    }
    input.value = "";
  }

  function report(file, found) {
    if (shown) URL.revokeObjectURL(shown);
    shown = URL.createObjectURL(file);
    const own = el("img", { class: "thumb", src: shown, alt: "", width: 128, height: 128, on: { error: () => own.remove() } });
    const views = inOrder(new Set(found.hits.map((hit) => hit.view)));
    return [
      el("div", { class: "looked" }, own, el("div", {},
        el("h2", { class: "name" }, file.name),
        el("p", { class: "soft" }, `${found.width} × ${found.height} pixels${found.frames > 1 ? ", the first frame of several" : ""}; ${figure(found.seconds)} seconds`),
        el("p", {}, "Every image has a nearest neighbour, whether or not it was used. ", Object.keys(marks).length
          ? `Reference of run ${run}: ${Object.values(marks)[0].note}. It applies only to images of the same kind.`
          : `Without images known not to be used, distances are ${NOT_CALIBRATED}.`))),
      el("div", { class: "sheet" }, views.map((view) => el("section", { class: "found", "aria-label": view },
        el("div", {}, el("h2", {}, view), el("p", { class: "soft small" }, marks[view] ? `${marks[view].name}: ${distance(view, marks[view].value)}` : `no reference: ${NOT_CALIBRATED}`)),
        el("ol", { class: "cards" }, found.hits.filter((hit) => hit.view === view).map((hit) => el("li", {}, hitCard(hit, run, marks[view]))))))),
    ];
  }

  fill(root,
    el("div", { class: "head" }, el("h1", {}, "Search with an image"), collections.map((one) => el("p", { class: "soft" }, `in ${many(one.images, "image")} of ${one.name}`))),
    collections.filter((one) => one.run === null).map((one) => el("p", { class: "soft small" }, one.note)),
    zone, results);
}

/** View -> the reference threshold of a run that compared what is searched. combined-lookup has none: no run has its scale. */
async function references(collections, run) {
  const views = collections[0].views.map(({ view }) => view);
  const found = await Promise.all(views.map((view) => distances(run, view)));
  return Object.fromEntries(found.filter(({ thresholds }) => thresholds.length).map(({ view, thresholds }) => [view, thresholds[0]]));
}

function hitCard(hit, run, mark) {
  return el("div", { class: "card hit", "data-view": hit.view, "data-rank": hit.rank, "data-name": hit.name },
    hit.id !== null ? card.thumbnail(run, hit.id, 96) : el("span", { class: "thumb nothing" }, "no picture"),
    el("span", { class: "card-name name" }, `${whole(hit.rank)}. ${hit.name}`),
    el("span", { class: "card-figures" }, el("b", {}, distance(hit.view, hit.distance)),
      hit.mirrored && el("span", { class: "soft" }, "flipped"), hit.blank && el("span", { class: "soft" }, "blank: no evidence")),
    mark && hit.distance <= mark.value && el("span", { class: "small nearer" }, `within the ${mark.name}`),
    hit.inliers !== null && el("span", { class: "small soft" }, `${many(hit.inliers, "inlier")} (${NOT_CALIBRATED})`));
}
