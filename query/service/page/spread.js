// How distances are spread, one row for each kind, above one axis; and a threshold that runs through all of them.

import { el, fill } from "./dom.js";
import { MEMBERSHIPS, distance, many, of, share, whole } from "./format.js";
import { PAD, histogram } from "./chart.js";
import { bins, counted, pairsUpTo, span, upTo, widened } from "./histogram.js";

const HEIGHT = 42;
const AXIS = 28;
const SHARE = 0.05; // of generated images under the line where nothing better is known

/** The rows and their threshold. moved: called with the threshold a moment after it was moved.
 *  {element, draw}: draw once the element stands in the page. */
export function spread(found, { whole: wholeNumbers, start, moved }) {
  const x = span(found);
  const steps = wholeNumbers ? 1 : 10 ** Math.floor(Math.log10((x[1] - x[0]) / 300));
  const suggested = suggestion(found, wholeNumbers);
  const rows = kinds(found, wholeNumbers);
  const slider = el("input", { type: "range", id: "threshold", min: tidy(Math.ceil(x[0] / steps) * steps), max: tidy(Math.floor(x[1] / steps) * steps), step: steps,
    on: { input: () => set(Number(slider.value)) } });
  const number = el("input", { type: "number", id: "threshold-number", step: steps, on: { change: () => number.value !== "" && set(Number(number.value)) } });
  const lineMark = el("div", { class: "threshold-line", "aria-hidden": "true" }, el("span", {}));
  const marks = found.thresholds.map((mark) => ({ mark, line: el("div", { class: "mark-line", "aria-hidden": "true" }, el("span", {}, mark.name)) }));
  const field = el("div", { class: "spread-field" }, marks.map(({ line }) => line), lineMark);
  const said = el("p", { class: "spread-said", role: "status", id: "threshold-said" });
  let t = Number.isFinite(start) ? start : suggested;
  let timer;

  function set(value) {
    t = value;
    update();
    clearTimeout(timer);
    timer = setTimeout(() => moved(String(t)), 250);
  }

  function update() {
    slider.value = String(t);
    slider.setAttribute("aria-valuetext", distance(found.view, t));
    number.value = String(wholeNumbers ? t : Number(t.toPrecision(6)));
    lineMark.firstChild.textContent = distance(found.view, t);
    place(lineMark, t);
    for (const row of rows) fill(row.under, ...row.count(t));
    fill(said, ...sentence(found, t));
  }

  function place(line, value) {
    const part = (value - x[0]) / (x[1] - x[0]);
    line.style.left = `calc(${PAD}px + (100% - ${2 * PAD}px) * ${Math.min(1, Math.max(0, part))})`;
    line.classList.toggle("flip", part > 0.8);
  }

  function drag(event) {
    if (event.type === "pointerdown") field.setPointerCapture(event.pointerId);
    else if (!field.hasPointerCapture(event.pointerId)) return;
    const box = field.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.left - PAD) / (box.width - 2 * PAD)));
    const value = x[0] + part * (x[1] - x[0]);
    set(wholeNumbers ? Math.round(value) : tidy(Math.round(value / steps) * steps));
  }

  field.addEventListener("pointerdown", drag);
  field.addEventListener("pointermove", drag);
  const element = el("div", { class: "spread" },
    el("p", { class: "soft small" }, "Distance of every image to its nearest neighbour on the other side, without blank images; left is nearer. Heights are numbers of images (all pairs: of pairs) in equal bins; the tallest bin fills its row."),
    el("div", { class: "spread-rows" },
      el("span", { class: "spread-head empty-head" }), el("span", { class: "spread-head empty-head" }), el("span", { class: "spread-head number" }, "within the threshold"),
      rows.map((row) => [el("div", { class: `spread-name ${row.tint}` }, row.name), row.host, row.under]),
      el("p", { class: "soft small spread-axis" }, found.unit), field),
    el("div", { class: "spread-rows spread-control" },
      el("label", { for: "threshold" }, "Threshold"), slider,
      el("span", { class: "row number" }, el("label", { class: "field" }, el("span", { class: "hidden" }, `Threshold as a number, ${found.short_unit || "distance"}`), number), el("span", { class: "soft" }, found.short_unit))),
    said, legend(found, set));
  return { element, draw: () => { rows.forEach((row, i) => row.draw(x, i === rows.length - 1)); marks.forEach(({ mark, line }) => place(line, mark.value)); update(); } };

  function tidy(value) {
    return wholeNumbers ? Math.round(value) : Number(value.toPrecision(10));
  }
}

/** The rows: all pairs, then images by what is known of them. */
function kinds(found, wholeNumbers) {
  const total = found.counts.reduce((sum, count) => sum + count, 0);
  const all = row("All pairs", "pairs", total, (scale) => widened(found, scale, wholeNumbers),
    (t) => pairsUpTo(found, t, wholeNumbers), wholeNumbers, wholeNumbers ? "" : "about ");
  const nearest = [["generated", "Generated", "generated"], ...MEMBERSHIPS.map((name) => [name, `Real, ${name}`, name.replace(" ", "-")])];
  return [all, ...nearest.filter(([key]) => found.nearest[key]?.length).map(([key, name, tint]) =>
    row(name, tint, found.nearest[key].length, (scale) => counted(found.nearest[key], scale), (t) => upTo(found.nearest[key], t), wholeNumbers, ""))];
}

function row(name, tint, total, counts, count, wholeNumbers, about) {
  const host = el("div", { class: "spread-plot", "aria-hidden": "true" });
  const under = el("div", { class: "spread-under number", "data-row": tint });
  const draw = (x, axis) => {
    const scale = bins(x, wholeNumbers);
    fill(host);
    histogram(host, { x, bins: scale, counts: counts(scale), tint, axis, height: HEIGHT + (axis ? AXIS : 0) });
  };
  return { name, tint, host, under, draw, count: (t) => {
    const found = count(t);
    return [el("b", {}, about + whole(found)), " ", el("span", { class: "of" }, `of ${whole(total)} `, el("span", { class: "soft" }, share(found / total)))];
  } };
}

/** The reference where there is one, else where a few generated images are under it. */
function suggestion({ thresholds, nearest }, wholeNumbers) {
  if (thresholds.length) return thresholds[0].value;
  const list = nearest.generated?.length ? nearest.generated : Object.values(nearest).flat().sort((a, b) => a - b);
  const value = list[Math.floor(list.length * SHARE)] ?? 0;
  return wholeNumbers ? Math.round(value) : value;
}

/** What the line says, and what calibrates it. */
function sentence({ view, nearest }, t) {
  const real = MEMBERSHIPS.flatMap((name) => nearest[name] ?? []).sort((a, b) => a - b);
  const notUsed = nearest["not used"] ?? [];
  const under = upTo(real, t);
  const first = `${many(under, "real image")} of ${whole(real.length)} and ${many(upTo(nearest.generated ?? [], t), "generated image")} of ${whole(nearest.generated?.length ?? 0)} have their nearest neighbour within ${distance(view, t)}. `;
  return [first, notUsed.length
    ? el("b", {}, `Calibration: ${of(upTo(notUsed, t), notUsed.length)} of the images known not to be used are within it.`)
    : el("b", {}, "Not calibrated: no image is known not to be used.")];
}

function legend({ thresholds, view }, set) {
  if (!thresholds.length) return el("p", { class: "soft small" }, "No reference threshold: it needs 20 real images known not to be used, at different distances.");
  return el("ul", { class: "marks" }, thresholds.map((mark) => el("li", {},
    el("button", { type: "button", on: { click: () => set(mark.value) } }, `${mark.name}: ${distance(view, mark.value)}`), " ", el("span", { class: "soft small" }, mark.note))));
}
