// A run at a glance: what was compared, how distances are spread, and how many lie under a threshold.

import { choice, el, fill } from "./dom.js";
import { MATCH_VALUE, MATCHED, NOT_CALIBRATED, figure, many, moment, whole } from "./format.js";
import { changed, go, link, note } from "./state.js";
import { about, distances, patients, rankings, reference, viewOf, wholeNumbers } from "./run.js";
import { spread } from "./spread.js";
import * as card from "./card.js";
import * as lists from "./list.js";

const WORST = 8; // pairs shown beside the figures
const PATIENTS = 5; // shown

export async function show(context) {
  const { root, run, params, signal } = context;
  const info = await about(run);
  const view = viewOf(info.views.map((one) => one.view), params.get("view"));
  const ranking = viewOf(rankings(info), params.get("view"));
  const [found, decided, worst] = await Promise.all([
    distances(run, view),
    patients(run, PATIENTS),
    lists.fresh(lists.asked(new URLSearchParams(), ranking), { run, view: ranking, limit: WORST, signal }),
  ]);
  const drawn = spread(found, {
    whole: wholeNumbers(info, view),
    start: params.has("t") ? Number(params.get("t")) : NaN,
    moved: (t) => note({ t }),
  });
  fill(root,
    el("div", { class: "head" }, el("h1", {}, `Run ${run}: overview`), el("p", { class: "soft" }, `${info.command}, ${moment(info.created)}`)),
    el("div", { class: "overview-top" }, sentences(info), nearest(worst, ranking, info, run)),
    el("section", { class: "sheet", "aria-label": "Distances" },
      el("div", { class: "head" },
        el("h2", {}, "Distances"),
        choice("View", info.views.map((one) => [one.view, one.view]), view, (chosen) => go(changed({ view: chosen, t: null })))),
      viewNote(info, view), drawn.element),
    decided.total > 0 && patientTable(decided, run),
    details(info));
  context.shown = drawn.draw;
}

function sentences(info) {
  const { real, generated } = info.images;
  const views = info.views.map(({ view }) => view).filter((view) => view !== "combined");
  const { used, not_used: notUsed, unlabelled } = info.labels;
  return el("section", { class: "sheet sentences", "aria-label": "Summary" },
    info.copies.slice(0, 1).map((line) => el("p", { class: "copies" }, line)),
    info.warnings.map((warning) => el("p", { class: "warning", role: "alert" }, warning)),
    info.answer.map(({ note: words, more }) => [el("p", { class: "lead" }, words), more && el("p", {}, more)]),
    info.copies.slice(1).map((line) => el("p", {}, line)),
    el("p", {}, `${many(real, "real image")} and ${many(generated, "generated image")} were compared in ${views.join(", ")}${info.mirror ? ", including flipped real images" : ""}.`),
    el("p", {}, unread(info), " ", used + notUsed
      ? `Labels of real images: ${whole(used)} used, ${whole(notUsed)} not used, ${whole(unlabelled)} unlabelled.`
      : "No real image has a label. Without images known not to be used, distances are not calibrated."),
    info.methods.filter(({ primary }) => primary).map(methodLine),
    el("p", {}, info.match
      ? `Geometric matching: ${many(info.match.pairs, "pair")} of ${many(info.match.generated_images, "generated image")}. ${info.match.note}`
      : "The run has no geometric matching; a pair is matched when you open it."),
    info.memorisation.map((line) => el("p", {}, line)),
    el("p", { class: "soft" }, "A small distance is evidence that an image was used; a large distance is no evidence that it was not. Always look at the images."));
}

function unread(info) {
  const { real = 0, generated = 0 } = info.failures;
  if (!real && !generated) return "Every file could be read.";
  return [`${many(real, "real file")} and ${many(generated, "generated file")} could not be read and are left out: `,
    el("a", { href: link("sql", [], { run: info.run, analysis: "failures", go: 1 }) }, "list with reasons"), "."];
}

function patientTable({ patients: shown, total, method }, run) {
  const called = shown[0].decision === "used";
  const all = el("a", { href: link("sql", [], { run, analysis: "patients", go: 1 }) }, "all patients");
  return el("section", { class: "sheet", "aria-label": "Patients" },
    el("h2", {}, called ? "Patients called used" : "Patients nearest to the generated images: nobody is called used"),
    el("p", { class: "soft small" }, `By method ${method}, the smallest p first: ${whole(shown.length)} of ${whole(total)}; `, all, ". “No trace found” clears nobody."),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Decisions on patients" }, el("table", {},
      head("Patient", "Decision", "p", "q", "Images", "Nearest image"),
      el("tbody", {}, shown.map((one) => line(one.patient, card.tag(one.decision), figure(one.p_value), figure(one.q_value), whole(one.images), nearestImage(one, run)))))));
}

function nearestImage({ nearest_id: real, nearest_image: name, generated_id: generated }, run) {
  return generated === null ? name : el("a", { href: link("pair", [real, generated], { run }) }, name);
}

function methodLine(method) {
  const answers = Object.entries(method.answers).map(([answer, count]) => `${whole(count)} ${answer}`).join(", ");
  const how = method.calibrated ? "Images of known membership calibrate it." : "Nothing calibrates it.";
  return el("p", {}, `What method ${method.method} says of images: ${answers || "none"}. ${how} How it decides stands below, under Prediction methods.`);
}

function nearest(worst, view, info, run) {
  const matched = view === MATCHED;
  const title = matched ? "Best matches" : "Nearest pairs";
  const shown = worst.images.filter((image) => image.nearest[view] && !image.nearest[view].blank);
  return el("section", { class: "sheet", "aria-label": title },
    el("div", { class: "head" },
      el("h2", {}, title),
      shown.length > 0 && card.firstPair(shown[0], { run, view }, `Review them, ${lists.first(lists.usual(view))}`)),
    matched && el("p", { class: "soft small" }, `Match value: ${MATCH_VALUE}. ${first(reference(info.match))}.`),
    shown.length
      ? el("ul", { class: "cards" }, shown.map((image, at) => el("li", {}, card.pair(image, { run, view, at }))))
      : el("p", { class: "soft" }, "No real image has a neighbour in this view."));
}

function viewNote(info, view) {
  const { note: said } = info.views.find((one) => one.view === view);
  return said && el("p", { class: "soft small" }, said);
}

function details(info) {
  return el("section", { class: "details", "aria-label": "Details" },
    fold("Views", el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Views" }, el("table", {},
      head("View", "Metric", "Size", "Unit", "Note"),
      el("tbody", {}, info.views.map((one) => line(one.view, one.metric, one.dim || "–", one.unit, one.note || "–")))))),
    info.methods.length > 0 && fold("Prediction methods", el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Methods" }, el("table", {},
      head("Method", "Calibration", "Predictions", "How it decides"),
      el("tbody", {}, info.methods.map((one) => line(
        one.primary ? `${one.method} (primary)` : one.method, one.calibrated ? "calibrated" : NOT_CALIBRATED,
        Object.entries(one.answers).map(([answer, count]) => `${whole(count)} ${answer}`).join(", ") || "–", one.note)))))),
    fold("Settings and versions", el("pre", { class: "json", tabindex: 0 }, JSON.stringify({ settings: info.settings, versions: info.versions }, null, 2))));
}

function fold(title, content) {
  return el("details", { class: "sheet" }, el("summary", {}, title), content);
}

function first(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function head(...names) {
  return el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name))));
}

function line(first, ...cells) {
  return el("tr", {}, el("th", { scope: "row" }, first), cells.map((cell) => el("td", {}, cell)));
}
