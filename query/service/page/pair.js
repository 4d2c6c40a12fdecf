// A pair of a real and a generated image, with its review.

import { choice, el, empty, fill, say } from "./dom.js";
import { get } from "./api.js";
import { NOT_CALIBRATED, figure, inOrder, of, share, whole } from "./format.js";
import { go, link, place } from "./state.js";
import { about, distances, rankings, viewOf, wholeNumbers } from "./run.js";
import { reviewForm } from "./review.js";
import { ahead } from "./pictures.js";
import { stage } from "./stage.js";
import { strip } from "./strip.js";
import * as card from "./card.js";
import * as format from "./format.js";
import * as keys from "./keys.js";
import * as lists from "./list.js";

const NEAREST = 6; // neighbours offered beside the pair

export async function show(context) {
  const { root, parts, params, run, signal } = context;
  const [real, generated] = parts.map(Number);
  if (!Number.isInteger(real) || !Number.isInteger(generated)) {
    fill(root, empty("This link does not name a pair", el("a", { href: link("images") }, "To the images")));
    return;
  }
  const info = await about(run);
  const view = viewOf(rankings(info), params.get("view"));
  const list = lists.asked(params, view);
  const index = params.has("at") ? Number(params.get("at")) : null;
  const [pair, around] = await Promise.all([get(`/v1/pairs/${real}/${generated}`, { run }, signal), neighboursInList(list, { run, view }, index)]);
  const pictures = stage(pair, { run, mode: params.get("mode") });
  const back = link("images", [], { ...lists.short(list, view), run: params.get("run"), view, offset: index > 49 ? index - (index % 50) : null });
  const move = (by, words) => () => {
    const target = around[by];
    if (target) go(withMode(target));
    else say(words);
  };
  const next = move("next", "This is the last pair in the list.");
  const path = `/v1/reviews/${pair.real.id}/${pair.generated.id}`;
  const review = reviewForm({ path, params: { run }, given: pair.review, named: pair.real.name, next: around.next ? next : null });
  fill(root,
    head(pair, { back, around, list, previous: move("previous", "This is the first pair in the list."), next }),
    el("div", { class: "pair-body" },
      el("div", { class: "pair-left" }, pictures.element, await others(pair, { run, info, view, list, index, params, signal })),
      el("aside", { class: "pair-right", "aria-label": "Review and figures" }, review.element, known(pair), places(pair, info, run, view), matched(pair.match, info))));
  keys.bind({ ...pictures.keys, ...review.keys, j: next, k: move("previous", "This is the first pair in the list."), Escape: () => go(back) });
  context.shown = () => { pictures.draw(); fetchAhead(around.next, run); };
}

/** The hash of the next pair keeps how pictures are shown. */
function withMode(hash) {
  const mode = place().params.get("mode");
  const at = place(hash);
  return link(at.view, at.parts, { ...Object.fromEntries(at.params), mode });
}

/** Hashes of the pairs before and after in the list, where the pair stands in one. */
async function neighboursInList(list, { run, view }, index) {
  if (index === null) return {};
  const [before, after] = await Promise.all([index > 0 ? lists.at(list, { run, view }, index - 1) : {}, lists.at(list, { run, view }, index + 1)]);
  const hash = (found, at) => (found.image ? card.pairLink(found.image, view, { ...lists.short(list, view), run, at }) : null);
  return { previous: hash(before, index - 1), next: hash(after, index + 1), total: after.total, index };
}

/** Has the pictures of the next pair at hand before they are asked for. */
function fetchAhead(hash, run) {
  if (!hash) return;
  for (const id of place(hash).parts) ahead(`/v1/images/${id}/picture`, { run });
}

function head({ real, generated }, { back, around, list, previous, next }) {
  const where = around.total !== undefined ? `${whole(around.index + 1)} of ${whole(around.total)}` : "not in a list";
  return el("div", { class: "pair-head" },
    el("a", { href: back, class: "back" }, "← Images"),
    el("h1", { class: "name", tabindex: -1, "data-focus": true }, real.name, el("span", { class: "soft" }, " and "), generated.name),
    el("div", { class: "row turn" },
      el("span", { class: "soft", id: "position" }, [where, around.total !== undefined && lists.first(list)].filter(Boolean).join(", ")),
      el("button", { type: "button", id: "previous", disabled: !around.previous, "aria-keyshortcuts": "k", on: { click: previous } }, "Previous ", el("kbd", {}, "k")),
      el("button", { type: "button", id: "next", disabled: !around.next, "aria-keyshortcuts": "j", on: { click: next } }, "Next ", el("kbd", {}, "j"))));
}

/** The nearest of the listed image, by one view after the other: other pairs with it. */
async function others(pair, { run, info, view, list, index, params, signal }) {
  const [own, other] = list.role === "generated" ? [pair.generated, pair.real] : [pair.real, pair.generated];
  const [{ neighbours }, { reviews }] = await Promise.all([get(`/v1/neighbours/${own.id}`, { run, k: NEAREST }, signal), get("/v1/reviews", { run }, signal)]);
  const said = new Map(reviews.filter((one) => one[`${own.role}_id`] === own.id).map((one) => [one[`${other.role}_id`], one.review]));
  const views = inOrder(new Set(neighbours.map((one) => one.view)));
  const to = (id) => link("pair", own.role === "real" ? [own.id, id] : [id, own.id], { ...Object.fromEntries(params), at: index });
  const section = el("section", { class: "others", "aria-label": `Nearest ${other.role} images` });
  const show = (chosen) => fill(section,
    el("div", { class: "row" }, el("h2", { class: "small" }, `Nearest ${other.role} images of ${own.name} by`), choice("View", views.map((one) => [one, one]), chosen, show)),
    el("p", { class: "soft small" }, format.meaning(chosen, info)),
    el("ol", { class: "cards-small" }, neighbours.filter((one) => one.view === chosen).map((one) => el("li", {},
      el("a", { class: "near", href: to(one.id), "aria-current": one.id === other.id ? "true" : null, title: one.name, "aria-label": `${one.rank}: ${one.name}, ${format.distance(chosen, one.distance)}` },
        card.thumbnail(run, one.id, 56), el("span", {}, format.distance(chosen, one.distance)), said.has(one.id) && card.tag(said.get(one.id)))))));
  show(views.includes(view) ? view : views[0]);
  return section;
}

function known({ real }) {
  const said = real.decision;
  const figures = said && [["value", said.value], ["p", said.p_value], ["q of the patient", said.q_value]].filter(([, value]) => value !== null);
  const chances = said && said.probability_low !== null ? `, P(used) ${format.range(said.probability_low, said.probability_high)}` : "";
  return el("section", { class: "sheet known", "aria-label": "The real image" },
    el("p", {}, "Membership: ", card.tag(real.membership), real.group && el("span", { class: "soft" }, ` group ${real.group}`)),
    said && el("p", {}, `Prediction of ${said.method}: `, card.tag(said.answer ?? "none"), el("span", { class: "soft" }, ` ${figures.map(([name, value]) => `${name} ${figure(value)}`).join(", ")}${chances}`,
      said.p_value === null ? ` (${NOT_CALIBRATED})` : "")));
}

function places(pair, info, run, chosen) {
  const views = inOrder(Object.keys(pair.distances));
  return el("section", { class: "sheet places", "aria-label": "Distances" },
    el("h2", {}, "Distances"),
    el("p", { class: "soft small" }, "Left is nearer. Line: this pair. Curve: all pairs of the run. Ticks: nearest distances of images known not to be used. Below: how many of these pairs, and of these images, are at this distance or nearer."),
    views.map((view) => onePlace(view, pair.distances[view], info, run, view === chosen)));
}

function onePlace(view, found, info, run, chosen) {
  const picture = el("div", { class: "strip" });
  if (found.distance !== null) {
    distances(run, view).then((all) => fill(picture, strip(all, found.distance, wholeNumbers(info, view))), () => fill(picture, el("span", { class: "soft small" }, "not available")));
  }
  return el("div", { class: `place${chosen ? " chosen" : ""}`, "data-view": view },
    el("h3", { title: format.meaning(view, info) }, view), el("span", { class: "number", title: format.meaning(view, info) }, format.distance(view, found.distance), found.mirrored ? " flipped" : ""),
    picture,
    el("p", { class: "small soft" }, placeWords(found)));
}

function placeWords({ distance, place: at, blank }) {
  if (distance === null) return "This run did not store the distance of this pair.";
  if (blank) return "One of the two images is blank in this view: no evidence.";
  return `${at.of_all_pairs === null ? "" : `${share(at.of_all_pairs)} of all pairs; `}${at.reference
    ? `${of(Math.round(at.of_reference * at.reference), at.reference)} images known not to be used`
    : `no reference: ${NOT_CALIBRATED}`}`;
}

/** Names of the figures of a match, with what each means. */
const TERMS = {
  "match value": format.MATCH_VALUE,
  inliers: "matched points that fit one shift, turn and scale",
  "area covered": "share of the picture inside the outline of these points",
  residual: "how far these points lie from where shift, turn and scale would put them; smaller fits better",
  correlation: "of grey levels after alignment; 1: equal, 0: unrelated",
  SSIM: "structural similarity after alignment; 1: equal, 0: unrelated",
  transform: "how the real image was turned for this",
};

function matched(match, info) {
  const turned = [match.mirrored && "flipped", match.quarter_turns && `rotated by ${90 * match.quarter_turns}°`].filter(Boolean).join(", ");
  const rows = {
    "match value": match.value === null ? "not matched in the run" : `${figure(match.value)} × usual (${match.calibrated ? `threshold ${figure(match.threshold)}` : NOT_CALIBRATED})`,
    inliers: `${whole(match.inliers)} of ${whole(match.matches)} matched points`,
    "area covered": share(match.area),
    residual: match.residual === null ? "–" : `${figure(match.residual)} pixels of 256`,
    correlation: figure(match.correlation),
    SSIM: figure(match.ssim),
    transform: turned || "not flipped or rotated",
  };
  return el("section", { class: "sheet matched", "aria-label": "Match" },
    el("h2", {}, "Match, point by point"),
    match.transform === null
      ? el("p", {}, `No transform aligns the two images (${whole(match.matches)} matched points). That is no evidence that they are unrelated.`)
      : el("dl", { class: "figures" }, Object.entries(rows).map(([name, value]) => el("div", { title: TERMS[name] }, el("dt", {}, name), el("dd", {}, value)))),
    el("p", { class: "soft small" }, match.note),
    el("details", { class: "terms" }, el("summary", { class: "small" }, "What these figures mean"),
      el("dl", { class: "small" }, Object.entries({ ...TERMS, ...format.meanings(info) }).map(([name, words]) => el("div", {}, el("dt", {}, name), el("dd", { class: "soft" }, words))))));
}
